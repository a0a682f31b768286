"""The per-host agent: reports to the provisioner, with the machine's health, and ends a tenant's
access when a lease ends.

Standard library and nvidia-ml-py only, and Python 3.9 or later: it runs inside customers' systems.
It imports nothing of the provisioner; the messages between the two live in `agent.protocol`.
"""

__version__ = "0.1.0"
