"""Vending: purchases from suppliers, their rows in PostgreSQL, and the tests of the suppliers' APIs."""
