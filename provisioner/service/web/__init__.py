"""Pages for people: plain HTML forms, better with a small script, no third party's files."""

from provisioner.service.web.routes import add_routes

__all__ = ["add_routes"]
