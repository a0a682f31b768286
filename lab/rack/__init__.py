"""A rack of real machines in QEMU behind real BMCs, on a switch of its own."""

from lab.rack.errors import RackError, RackIsUp, RackNotUp
from lab.rack.plan import DiskPlan, MachineOptions, RackPlan, ServerPlan, plan_rack
from lab.rack.rack import Rack

__all__ = [
    "DiskPlan",
    "MachineOptions",
    "Rack",
    "RackError",
    "RackIsUp",
    "RackNotUp",
    "RackPlan",
    "ServerPlan",
    "plan_rack",
]
