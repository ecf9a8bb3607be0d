"""Peach Payments: amounts are decimal text, a payment is looked up by our own reference, and webhooks tell the rest."""
