"""The `treasury` command. A module a family of commands; the work itself is done below, in flows, tasks and servers."""
