"""The logs of the API: the access log, request ids, JSON lines, and the output that no reader can block."""
