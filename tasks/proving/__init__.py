"""Proofs for outsiders: that a row is in the archive, that a statement is complete, that something is not there."""
