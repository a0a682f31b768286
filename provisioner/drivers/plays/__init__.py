"""Ansible playbooks, run through ansible-runner."""

from provisioner.drivers.plays.base import (
    OnEvent,
    PlayEvent,
    PlayEventKind,
    PlayFailed,
    Plays,
    PlayUnreachable,
)

__all__ = ["OnEvent", "PlayEvent", "PlayEventKind", "PlayFailed", "PlayUnreachable", "Plays"]
