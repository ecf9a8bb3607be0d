"""The end of a month's life: legal holds, the plan of what is past its policy, approvals, deletion and certificates."""
