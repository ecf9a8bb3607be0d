"""The formats of the public log: signed notes, checkpoints, tiles, policies, proofs, and the events in it. No I/O.

The specifications are those of C2SP (https://c2sp.org): signed-note, tlog-checkpoint, tlog-cosignature, tlog-tiles,
tlog-policy and tlog-proof. What is this project's own are the entries (`events`) and the index (`replay`).
"""
