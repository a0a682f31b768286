"""The per-host agent: it reports machine health and ends a tenant's access when the lease ends.

It runs inside customers' systems, so it uses only the standard library and nvidia-ml-py, and
supports Python 3.9. It imports nothing from the provisioner; the messages between the two are
defined in `agent.protocol`.
"""

__version__ = "0.1.0"
