"""rackctl: the operator's command line, a client of the HTTP API alone.

It holds no rule of its own: what may be done, and why not, is the service's answer. It imports
no other package of the provisioner, so it can be installed on a machine that has only the API.
"""
