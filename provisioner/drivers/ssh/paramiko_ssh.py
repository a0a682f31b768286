"""SSH through paramiko behind the :class:`Ssh` interface: probe, key query, one command.

Connecting happens on the event loop, so that servers which are off cost no thread; the SSH
conversation itself blocks and runs in a bounded pool. Every connection ends with its call.
"""

import asyncio
import base64
import hashlib
import logging
import select
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from paramiko import (
    AuthenticationException,
    BadAuthenticationType,
    Channel,
    PKey,
    SSHException,
    Transport,
)

from provisioner.drivers.ssh.base import (
    CommandResult,
    HostKeyMismatch,
    Ssh,
    SshLoginRefused,
    SshState,
    SshTarget,
    SshUnreachable,
)
from provisioner.drivers.ssh.key_query import KeyQuery, parse_public_key

T = TypeVar("T")

# Errors reach the caller as typed failures; paramiko would log a traceback as well.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

_HOST_KEY_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
_OUTPUT_LIMIT = 4 << 20
_CONNECTION_LOST = (SSHException, EOFError, OSError)


class ParamikoSsh(Ssh):
    """`private_key` is the path of the provisioner's own key, with which :meth:`run` logs in."""

    def __init__(self, private_key: Path, *, concurrent: int = 32) -> None:
        self._private_key = private_key
        self._threads = ThreadPoolExecutor(concurrent, thread_name_prefix="ssh")

    async def probe(self, target: SshTarget, *, timeout_s: float = 5.0) -> SshState:
        """Connect, compare the host key, disconnect. Raises HostKeyMismatch."""

        def greet(sock: socket.socket, until: float) -> SshState:
            with _verified(target, sock, until):
                return SshState.ANSWERS

        try:
            return await self._converse(target, timeout_s, greet)
        except _Refused:
            return SshState.REFUSED
        except SshUnreachable:
            return SshState.UNREACHABLE

    async def accepts_key(
        self, target: SshTarget, public_key: str, *, timeout_s: float = 10.0
    ) -> bool:
        """Return whether the server would let this public key log in; needs no private key.

        Raises SshUnreachable, HostKeyMismatch; ValueError if `public_key` is not a public key.
        """
        parse_public_key(public_key)

        def ask(sock: socket.socket, until: float) -> bool:
            with _verified(target, sock, until) as transport:
                query = transport.auth_handler = KeyQuery(transport, target.user, public_key)
                return query.ask(until - time.monotonic())

        return await self._converse(target, timeout_s, ask)

    async def run(
        self, target: SshTarget, command: str, *, timeout_s: float = 30.0
    ) -> CommandResult:
        """Run one command as the provisioner; a status other than 0 is an ordinary result.

        A command ended by a signal has the status -1. Raises SshUnreachable (also when it does not
        end in time or writes more than 4 MiB), SshLoginRefused, HostKeyMismatch.
        """

        def log_in_and_run(sock: socket.socket, until: float) -> CommandResult:
            with _verified(target, sock, until) as transport:
                transport.auth_timeout = until - time.monotonic()
                _log_in(transport, target, PKey.from_path(self._private_key))
                with transport.open_session(timeout=until - time.monotonic()) as channel:
                    channel.settimeout(until - time.monotonic())
                    channel.exec_command(command)
                    return _result(channel, until)

        return await self._converse(target, timeout_s, log_in_and_run)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _converse(
        self, target: SshTarget, timeout_s: float, talk: Callable[[socket.socket, float], T]
    ) -> T:
        until = time.monotonic() + timeout_s
        sock = await _connect(target, timeout_s)
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, talk, sock, until
            )
        except TimeoutError as error:
            raise SshUnreachable(target, str(error) or f"no answer in {timeout_s:.0f} s") from None
        except _CONNECTION_LOST as error:
            raise SshUnreachable(target, str(error) or type(error).__name__) from None
        finally:
            # Ends the thread's conversation when this call is cancelled.
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class _Refused(SshUnreachable):
    """The host answers on the network, but no SSH server answers on the port."""

    code = "ssh_refused"


async def _connect(target: SshTarget, timeout_s: float) -> socket.socket:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            found = await loop.getaddrinfo(target.address, target.port, type=socket.SOCK_STREAM)
            family, kind, protocol, _, address = found[0]
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, address)
            except BaseException:
                sock.close()
                raise
    except TimeoutError:
        raise SshUnreachable(target, "no answer to the connection request") from None
    except ConnectionRefusedError:
        raise _Refused(target, "connection refused") from None
    except OSError as error:
        raise SshUnreachable(target, error.strerror or str(error)) from None
    return sock


@contextmanager
def _verified(target: SshTarget, sock: socket.socket, until: float) -> Iterator[Transport]:
    """Open an encrypted connection, not logged in, to the server with the expected host key."""
    expected_type, expected = parse_public_key(target.host_key)
    with Transport(sock) as transport:
        wait_s = max(0.1, until - time.monotonic())
        transport.banner_timeout = transport.handshake_timeout = wait_s
        # The expected type first, as servers have several keys; the others too, to tell a server
        # with another key from one that cannot be talked to.
        transport.get_security_options().key_types = tuple(
            sorted(_HOST_KEY_TYPES, key=lambda name: not _same_type(name, expected_type))
        )
        try:
            transport.start_client(timeout=wait_s)
            offered = transport.get_remote_server_key()
        except (EOFError, ConnectionResetError):
            raise _Refused(target, "the connection was closed at once") from None
        if offered.asbytes() != expected:
            raise HostKeyMismatch(target, _fingerprint(offered))
        yield transport


def _same_type(algorithm: str, key_type: str) -> bool:
    return algorithm == key_type or (key_type == "ssh-rsa" and algorithm.startswith("rsa-"))


def _fingerprint(key: PKey) -> str:
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


def _log_in(transport: Transport, target: SshTarget, key: PKey) -> None:
    try:
        transport.auth_publickey(target.user, key)
    except BadAuthenticationType:
        raise SshLoginRefused(target) from None
    except AuthenticationException:
        # paramiko raises the same for a lost connection and for silence; a refusal is only an
        # answered request on an open connection.
        event = transport.auth_handler.auth_event if transport.auth_handler else None
        if transport.is_active() and event is not None and event.is_set():
            raise SshLoginRefused(target) from None
        raise


def _result(channel: Channel, until: float) -> CommandResult:
    streams = {False: bytearray(), True: bytearray()}
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    while True:
        # Both streams share one window: read whichever has data, or the other would stall.
        if channel.recv_ready():
            streams[False] += channel.recv(65536)
        elif channel.recv_stderr_ready():
            streams[True] += channel.recv_stderr(65536)
        elif channel.eof_received or channel.closed:
            break
        elif not poll.poll(max(0.0, until - time.monotonic()) * 1000):
            raise TimeoutError("the command does not end")
        if sum(map(len, streams.values())) > _OUTPUT_LIMIT:
            raise SSHException("the command wrote more than 4 MiB")
    if not channel.status_event.wait(max(0.0, until - time.monotonic())):
        raise TimeoutError("the command does not end")
    if channel.exit_status == -1 and not channel.eof_received:
        raise EOFError("connection lost while the command ran")
    stdout, stderr = (streams[key].decode(errors="replace") for key in (False, True))
    return CommandResult(channel.exit_status, stdout, stderr)
