"""Measurements: each prints a table for people and one JSON line with both sides of every ratio."""
