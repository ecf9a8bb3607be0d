"""Alerts: the store, the list of rules, and the notices that people get."""
