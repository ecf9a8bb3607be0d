"""The audit trail of reconciliation: the event chain, archived objects, and the people who decide."""
