"""Prefect flows, one a file: a parameters model, the order of steps, artifacts. No SQL and no store calls.

What a step does is in `tasks/`, as plain functions that run without Prefect too.
"""
