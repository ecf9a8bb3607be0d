"""Reconciliation: a supplier's day of statement lines against the internal rows, wherever those are now.

`matching` and `classes` decide what belongs together and how it differs, `rules` what needs no person. `tieout` proves
that nothing was left out, and `run` orders it and writes it down. `breaks` is for the people who work what is left, and
`chain` is the record that cannot be changed unseen.
"""
