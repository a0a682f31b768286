"""A rack of simulated servers: the drivers' interfaces in process, for many servers or crashes.

Whatever is shown on it is also shown on the virtual rack.
"""

from lab.simulated.drivers import simulated_drivers
from lab.simulated.gpus import SimulatedGpus
from lab.simulated.rack import Link, SimulatedRack
from lab.simulated.server import (
    FIRMWARE,
    OFF,
    RAMDISK,
    SECRET,
    TENANT,
    SimulatedServer,
    numbered_servers,
    servers_of,
)

__all__ = [
    "FIRMWARE",
    "OFF",
    "RAMDISK",
    "SECRET",
    "TENANT",
    "Link",
    "SimulatedGpus",
    "SimulatedRack",
    "SimulatedServer",
    "numbered_servers",
    "servers_of",
    "simulated_drivers",
]
