"""Proofs for outsiders: of rows, of statements and of absence, and the kit that an auditor checks everything with."""
