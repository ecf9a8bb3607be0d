"""The archive over HTTP: its months, proofs of rows and statements, and the public log."""
