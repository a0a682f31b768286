"""Pages for people: plain HTML forms, enhanced by a small script, without third-party files."""

from provisioner.service.web.routes import add_routes

__all__ = ["add_routes"]
