"""HTTP: the transaction API. Flows are not imported here."""
