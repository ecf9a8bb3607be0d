"""The shared parts of the simulators: a book of what they sold, bearer tokens, faults, and serving all of them from one
app.

A simulator is a server that behaves as its supplier does, down to the unpleasant: tests, `make up` and `make demo` run
against it over real HTTP. It never sees a real credential, PIN or number.
"""
