"""The definitions of a transaction, a month, a tier and a policy: pure and typed. No I/O, no framework."""
