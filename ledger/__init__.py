"""What a transaction, a month, a tier and a policy are: pure and typed. No I/O and no framework belongs here."""
