"""Switch ports that servers are plugged into."""

from provisioner.drivers.network.base import Switch, SwitchUnreachable

__all__ = ["Switch", "SwitchUnreachable"]
