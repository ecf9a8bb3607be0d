"""The servers of the pip packages, as child processes on 127.0.0.1, for installations that set no URLs.

Start with `stack`: ``running`` provides servers for the length of a command, ``up`` starts all and stays. Production
needs none of this package, so only the commands that `.importlinter` names import it. No SQL but the creation of the
database belongs here.
"""
