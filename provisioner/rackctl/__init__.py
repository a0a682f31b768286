"""rackctl: the operator's command line, purely a client of the HTTP API.

It has no rules of its own: the service decides what is allowed, and why not. It imports no
other package of the provisioner, so it can be installed on a machine that has only the API.
"""
