"""The SSH driver against a real sshd on loopback."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from ssh_server import SshServer, free_tcp_port, make_key

from provisioner.drivers.ssh.base import (
    HostKeyMismatch,
    SshLoginRefused,
    SshState,
    SshTarget,
    SshUnreachable,
)
from provisioner.drivers.ssh.paramiko_ssh import ParamikoSsh

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("/usr/sbin/sshd"), reason="needs openssh-server"),
]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[SshServer]:
    server = await SshServer.start(tmp_path / "sshd")
    yield server
    await server.stop()


@pytest.fixture
def own_key(tmp_path: Path) -> str:
    return make_key(tmp_path / "own")


@pytest.fixture
async def ssh(tmp_path: Path, own_key: str) -> AsyncIterator[ParamikoSsh]:
    driver = ParamikoSsh(tmp_path / "own")
    yield driver
    await driver.close()


async def test_probe_knows_the_issued_host_key_of_every_type(
    ssh: ParamikoSsh, tmp_path: Path
) -> None:
    kinds = ("ed25519", "ecdsa", "rsa")
    server = await SshServer.start(tmp_path / "three-keys", kinds)
    for kind in kinds:
        assert await ssh.probe(server.target(kind)) is SshState.ANSWERS
    await server.stop()


async def test_probe_tells_a_closed_port_from_an_absent_host(ssh: ParamikoSsh) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA=="
    closed = SshTarget("127.0.0.1", key, port=free_tcp_port())
    assert await ssh.probe(closed) is SshState.REFUSED
    with socket.socket() as full:  # its queue is full: connection requests stay unanswered
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        with socket.create_connection(address):
            absent = SshTarget("127.0.0.1", key, port=address[1])
            assert await ssh.probe(absent, timeout_s=0.2) is SshState.UNREACHABLE


async def test_probe_calls_a_host_that_accepts_and_says_nothing_unreachable(
    ssh: ParamikoSsh, server: SshServer
) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        target = replace(server.target(), port=mute.getsockname()[1])
        assert await ssh.probe(target, timeout_s=0.5) is SshState.UNREACHABLE


async def test_another_host_key_is_a_mismatch_before_any_login(
    ssh: ParamikoSsh, server: SshServer, tmp_path: Path, own_key: str
) -> None:
    server.authorize(own_key)
    target = server.target(host_key=make_key(tmp_path / "other"))
    with pytest.raises(HostKeyMismatch, match="ssh-ed25519 SHA256:"):
        await ssh.probe(target)
    with pytest.raises(HostKeyMismatch):
        await ssh.run(target, "true")
    with pytest.raises(HostKeyMismatch):
        await ssh.accepts_key(target, own_key)


async def test_server_without_a_key_of_the_issued_type_is_a_mismatch(
    ssh: ParamikoSsh, tmp_path: Path
) -> None:
    server = await SshServer.start(tmp_path / "ecdsa-only", ("ecdsa",))
    target = server.target("ecdsa", host_key=make_key(tmp_path / "issued"))
    with pytest.raises(HostKeyMismatch, match="ecdsa-sha2-nistp256"):
        await ssh.probe(target)
    await server.stop()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
async def test_authorized_key_is_accepted_without_its_private_half(
    ssh: ParamikoSsh, server: SshServer, tmp_path: Path, kind: str
) -> None:
    customer = make_key(tmp_path / "customer", kind)
    assert not await ssh.accepts_key(server.target(), customer)
    server.authorize(customer)
    (tmp_path / "customer").unlink()
    assert await ssh.accepts_key(server.target(), customer)


async def test_key_is_not_accepted_for_another_user(
    ssh: ParamikoSsh, server: SshServer, own_key: str
) -> None:
    server.authorize(own_key)
    assert not await ssh.accepts_key(server.target(user="nobody-here"), own_key)


@pytest.mark.parametrize("line", ["", "ssh-ed25519", "ssh-ed25519 !!!", "ssh-rsa AAAAC3NzaC1lZDI="])
async def test_key_that_is_no_key_is_refused_before_connecting(
    ssh: ParamikoSsh, server: SshServer, line: str
) -> None:
    with pytest.raises(ValueError, match="key"):
        await ssh.accepts_key(server.target(), line)


async def test_run_returns_status_and_both_streams(
    ssh: ParamikoSsh, server: SshServer, own_key: str
) -> None:
    server.authorize(own_key)
    result = await ssh.run(server.target(), "echo out; echo err >&2; exit 3")
    assert (result.status, result.stdout, result.stderr) == (3, "out\n", "err\n")


async def test_run_takes_more_output_than_one_window_on_either_stream(
    ssh: ParamikoSsh, server: SshServer, own_key: str
) -> None:
    server.authorize(own_key)
    result = await ssh.run(server.target(), "head -c 3000000 /dev/zero >&2; echo end")
    assert (len(result.stderr), result.stdout) == (3_000_000, "end\n")


async def test_run_with_endless_output_is_given_up(
    ssh: ParamikoSsh, server: SshServer, own_key: str
) -> None:
    server.authorize(own_key)
    with pytest.raises(SshUnreachable, match="4 MiB"):
        await ssh.run(server.target(), "cat /dev/zero")


async def test_run_of_a_command_that_does_not_end_is_given_up(
    ssh: ParamikoSsh, server: SshServer, own_key: str
) -> None:
    server.authorize(own_key)
    with pytest.raises(SshUnreachable, match="does not end"):
        await ssh.run(server.target(), "read forever", timeout_s=1)


async def test_command_ended_by_a_signal_has_no_status(
    ssh: ParamikoSsh, server: SshServer, own_key: str
) -> None:
    server.authorize(own_key)
    assert (await ssh.run(server.target(), "kill -9 $$")).status == -1


async def test_refused_key_is_reported_as_a_login_failure(
    ssh: ParamikoSsh, server: SshServer
) -> None:
    with pytest.raises(SshLoginRefused):
        await ssh.run(server.target(), "true")


async def test_connection_that_is_lost_in_the_middle_is_unreachable(
    ssh: ParamikoSsh, server: SshServer, own_key: str
) -> None:
    server.authorize(own_key)
    with pytest.raises(SshUnreachable):
        await ssh.run(server.target(), "kill -9 $PPID; read forever")


async def test_cancelled_call_ends_its_connection(
    ssh: ParamikoSsh, server: SshServer, own_key: str, tmp_path: Path
) -> None:
    server.authorize(own_key)
    running = tmp_path / "running"
    running.touch()
    command = f"trap 'rm {running}' HUP; echo $$ > {running}; cat; rm -f {running}"
    call = asyncio.create_task(ssh.run(server.target(), command))
    async with asyncio.timeout(20):
        while not running.read_text():  # noqa: ASYNC110  # written by the command
            await asyncio.sleep(0)
        call.cancel()
        while running.exists():  # noqa: ASYNC110
            await asyncio.sleep(0)
