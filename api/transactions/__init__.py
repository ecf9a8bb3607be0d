"""Transactions over HTTP: storing with group commit, reading over all tiers, status changes, and vending."""
