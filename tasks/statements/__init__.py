"""Intake of supplier statements: finding files, reading each once, quarantine, and lateness."""
