"""The servers that the pip packages bring, run as ordinary child processes on 127.0.0.1, for who sets no URLs.

`stack` is the way in: ``running`` lends the servers for the length of a command, ``up`` starts everything and stays.
What a server is asked to store does not belong here; neither does any SQL beyond creating its own database.
"""
