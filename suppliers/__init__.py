"""The suppliers of value-added services: what they send, in one canonical form."""
