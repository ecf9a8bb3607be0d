"""From a request to its operation: the list of operations, reading a request, checks, and problem answers."""
