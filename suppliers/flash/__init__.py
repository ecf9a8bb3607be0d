"""Flash, Partner API v4: amounts are whole cents, and posting a reference again is the status query."""
