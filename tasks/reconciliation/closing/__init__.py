"""Closing of periods, and what later changes in closed days."""
