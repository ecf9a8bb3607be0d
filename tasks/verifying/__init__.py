"""Verification: of the archive from its bucket, of a part of it each night, and of a month by independent readers."""
