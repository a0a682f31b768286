"""What machines request while booting: a script, the ramdisk's files, their identity, images."""

from provisioner.service.boot.routes import add_routes

__all__ = ["add_routes"]
