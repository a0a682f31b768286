"""Ports of an Open vSwitch bridge on this machine, by its own tools and run directory."""

import asyncio
import os
from pathlib import Path

from provisioner.drivers.network.base import Switch, SwitchUnreachable

_LIMIT_S = 10.0


class OpenVSwitch(Switch):
    def __init__(self, run_dir: Path, bridge: str) -> None:
        """`run_dir` is where ovs-vswitchd keeps its sockets (OVS_RUNDIR)."""
        self._run_dir = run_dir
        self._bridge = bridge

    async def set_port(self, port: str, *, is_open: bool) -> None:
        # ovs-ofctl(8), mod-port: a port that is down neither sends nor receives.
        verb = "up" if is_open else "down"
        await self._run(port, "ovs-ofctl", "mod-port", self._bridge, port, verb)
        # Cached flows would go on passing frames for another half second.
        for control in self._run_dir.glob("*vswitchd*.ctl"):
            await self._run(port, "ovs-appctl", f"--target={control}", "revalidator/purge")

    async def port_is_open(self, port: str) -> bool:
        database = f"--db=unix:{self._run_dir / 'db.sock'}"
        state = await self._run(
            port, "ovs-vsctl", database, "--timeout=5", "get", "interface", port, "admin_state"
        )
        return state.strip() == "up"

    async def _run(self, port: str, *command: str) -> str:
        environment = {**os.environ, "OVS_RUNDIR": str(self._run_dir)}
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except FileNotFoundError as error:
            raise SwitchUnreachable(port, f"{command[0]} is not installed") from error
        try:
            out, err = await asyncio.wait_for(process.communicate(), _LIMIT_S)
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise SwitchUnreachable(port, f"{command[0]} had no answer") from error
        if process.returncode != 0:
            raise SwitchUnreachable(port, err.decode(errors="replace").strip())
        return out.decode()
