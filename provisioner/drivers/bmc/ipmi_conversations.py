"""Conversations with IPMI BMCs: who is asked when, and what is made of silence.

One conversation at a time per BMC, a bounded number of BMCs at once, sessions reused, silent BMCs
left alone for a while. What is said in a conversation is left to `ipmi.py`, the protocol to the
thread of `ipmi_thread.py`.
"""

import asyncio
import ipaddress
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from pyghmi.ipmi.private.constants import rmcp_codes

from provisioner.drivers.bmc.base import (
    BmcCommandFailed,
    BmcLoginRefused,
    BmcTarget,
    BmcUnreachable,
)
from provisioner.drivers.bmc.breaker import CircuitBreaker
from provisioner.drivers.bmc.ipmi_readings import UNDECODABLE, BlockingCommand
from provisioner.drivers.bmc.ipmi_session import IpmiSession, Response
from provisioner.drivers.bmc.ipmi_thread import LoginFailed, NoAnswer, ipmi_thread

T = TypeVar("T")

_LOGIN_REFUSALS = (
    "Incorrect password",
    "requesting privilege",
    *(rmcp_codes[code] for code in (0x09, 0x0A, 0x0C, 0x0D, 0x0F)),
)
"""Words by which pyghmi's login errors tell a wrong login from a BMC in trouble."""
_READINGS_LIMIT_S = 120.0
_RETRY_DELAY_S = (0.1, 0.5)
_PATIENCE_S = 0.25


@dataclass(slots=True)
class _Peer:
    """What is kept of one BMC between calls."""

    breaker: CircuitBreaker
    queue: asyncio.Lock = field(default_factory=asyncio.Lock)
    session: IpmiSession | None = None
    login: BmcTarget | None = None
    in_slot: bool = False
    commands: int = 0
    """Conversations under way or waiting that are no readings: for these, readings give way."""


class Conversations:
    """With all IPMI BMCs of the process.

    `limit_s` bounds each command and each login; `concurrent` is the number of BMCs in work at
    once. After `breaker_threshold` silences in a row a BMC is reported as unreachable at once,
    for `cooldown_s`; then one attempt is let through.
    """

    def __init__(
        self,
        *,
        limit_s: float = 10.0,
        concurrent: int = 64,
        breaker_threshold: int = 3,
        cooldown_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit_s = limit_s
        self._new_breaker: Callable[[], CircuitBreaker] = partial(
            CircuitBreaker, breaker_threshold, cooldown_s, clock=clock
        )
        self._peers: dict[tuple[str, int], _Peer] = {}
        self._slots = asyncio.Semaphore(concurrent)
        self._readers = ThreadPoolExecutor(max_workers=16, thread_name_prefix="ipmi-reader")
        self._thread = ipmi_thread()

    def close(self) -> None:
        """Log out everywhere; the object may not be used afterwards."""
        for peer in self._peers.values():
            self._drop(peer)
        self._peers.clear()
        self._readers.shutdown(wait=False, cancel_futures=True)

    async def hold(
        self,
        target: BmcTarget,
        talk: Callable[[IpmiSession], Awaitable[T]],
        *,
        repeat: bool = False,
        gives_way: bool = False,
    ) -> T:
        """Hold one conversation when it is this BMC's turn; with `repeat` try a second time.

        Only what fails after the login is repeated (a session the BMC has forgotten, a busy
        BMC): a login is retransmitted by itself, and a refused one can lock the account.
        """
        peer = self._peer(target)
        peer.commands += not gives_way
        try:
            async with self._turn(peer, target):
                if repeat:
                    try:
                        return await self._attempt(peer, target, talk)
                    except _Repeatable:
                        await asyncio.sleep(random.uniform(*_RETRY_DELAY_S))  # noqa: S311  # jitter
                try:
                    return await self._attempt(peer, target, talk)
                except _Repeatable as failed:
                    raise failed.failure from None
        finally:
            peer.commands -= not gives_way

    async def ask(
        self,
        target: BmcTarget,
        session: IpmiSession,
        name: str,
        request: tuple[int, ...],
        *,
        retransmit: bool = True,
    ) -> bytes:
        netfn, command, *data = request
        future = self._thread.command(session, netfn, command, tuple(data), retransmit=retransmit)
        try:
            response = await self._answer(self._peer(target), future)
        except (NoAnswer, TimeoutError):
            raise BmcUnreachable(target, f"no answer to {name}") from None
        if "error" in response:
            raise BmcCommandFailed(target, name, response["error"])
        return bytes(response["data"])

    async def read(self, target: BmcTarget, name: str, decode: Callable[[BlockingCommand], T]) -> T:
        """Run one of the decoders of `ipmi_readings.py` in a worker thread.

        It can take a minute, for which no power-off may wait: it begins anew after it.
        """
        peer = self._peer(target)

        async def talk(session: IpmiSession) -> T:
            def ask(netfn: int, command: int, data: tuple[int, ...], lun: int) -> Response:
                if peer.commands:
                    raise _GaveWay
                return self._thread.command(session, netfn, command, data, lun=lun).result(
                    self._limit_s
                )

            until = time.monotonic() + _READINGS_LIMIT_S
            command = BlockingCommand(target, ask, until)
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._readers, decode, command
                )
            except (NoAnswer, TimeoutError) as silence:
                raise BmcUnreachable(target, f"no answer to {name}: {silence}") from None
            except UNDECODABLE as error:
                raise BmcCommandFailed(target, name, f"{type(error).__name__}: {error}") from error

        while True:
            try:
                return await self.hold(target, talk, repeat=True, gives_way=True)
            except _GaveWay:
                continue

    def _peer(self, target: BmcTarget) -> _Peer:
        key = (target.address, target.port)
        if key not in self._peers:
            self._peers[key] = _Peer(self._new_breaker())
        return self._peers[key]

    @asynccontextmanager
    async def _turn(self, peer: _Peer, target: BmcTarget) -> AsyncIterator[None]:
        """Wait for this BMC to be free and for a slot; count silences and answers."""
        async with peer.queue:
            if wait_s := peer.breaker.blocked_for():
                raise BmcUnreachable(
                    target,
                    f"silent {peer.breaker.failures} times in a row, asked again in {wait_s:.0f} s",
                )
            await self._slots.acquire()
            peer.in_slot = True
            try:
                yield
            except BmcUnreachable:
                peer.breaker.failed()
                raise
            except (BmcLoginRefused, BmcCommandFailed):
                peer.breaker.succeeded()  # it answers, whatever it says
                raise
            finally:
                self._leave_slot(peer)
            peer.breaker.succeeded()

    def _leave_slot(self, peer: _Peer) -> None:
        if peer.in_slot:
            peer.in_slot = False
            self._slots.release()

    async def _answer(self, peer: _Peer, future: Future[T]) -> T:
        """Wait for the IPMI thread's result, `limit_s` at most (TimeoutError).

        A BMC that does not answer soon waits on without a slot, and one that was silent the last
        time at once: waiting costs nothing, and a rack without power keeps nobody from the rest.
        """
        answer = asyncio.wrap_future(future)
        try:
            async with asyncio.timeout(self._limit_s):
                patience_s = 0 if peer.breaker.failures else _PATIENCE_S
                answered, _ = await asyncio.wait({answer}, timeout=patience_s)
                if not answered:
                    self._leave_slot(peer)
                return await answer
        finally:
            answer.cancel()

    async def _attempt(
        self, peer: _Peer, target: BmcTarget, talk: Callable[[IpmiSession], Awaitable[T]]
    ) -> T:
        session = await self._session(peer, target)
        try:
            return await talk(session)
        except BmcCommandFailed as failure:
            raise _Repeatable(failure) from failure
        except BmcUnreachable as failure:
            self._drop(peer)
            raise _Repeatable(failure) from failure
        except _GaveWay:
            raise
        except BaseException:
            # Cancelled in the middle of a conversation: the answer still under way must not be
            # taken for the answer to the next command.
            self._drop(peer)
            raise

    async def _session(self, peer: _Peer, target: BmcTarget) -> IpmiSession:
        if peer.session is not None:
            if peer.session.usable and peer.login == target:
                return peer.session
            self._drop(peer)
        try:
            peer.session = await self._login(peer, target, target.password)
        except BmcLoginRefused:
            if not target.next_password:
                raise
            peer.session = await self._login(peer, target, target.next_password)
        peer.login = target
        return peer.session

    async def _login(self, peer: _Peer, target: BmcTarget, password: str) -> IpmiSession:
        address = await _numeric(target)
        future = self._thread.login(address, target.port, target.username, password)
        # A login given up here still ends by itself (pyghmi's limit is 6 s), and a session it
        # then gives is logged out when idle.
        try:
            return await self._answer(peer, future)
        except (NoAnswer, TimeoutError) as silence:
            raise BmcUnreachable(target, str(silence) or "no answer to the login") from None
        except LoginFailed as failed:
            if any(refusal in str(failed) for refusal in _LOGIN_REFUSALS):
                raise BmcLoginRefused(target, str(failed)) from None
            raise BmcCommandFailed(target, "login", str(failed)) from None

    def _drop(self, peer: _Peer) -> None:
        if peer.session is not None:
            self._thread.abandon(peer.session)
            peer.session = peer.login = None


class _GaveWay(Exception):
    """A reading was broken off between two of its commands, as another conversation waits."""


class _Repeatable(Exception):
    """A failure after the login; carries what is raised when it is not repeated."""

    def __init__(self, failure: BmcUnreachable | BmcCommandFailed) -> None:
        super().__init__(str(failure))
        self.failure = failure


async def _numeric(target: BmcTarget) -> str:
    """The BMC's IP address. Resolved here because pyghmi would block its thread on the DNS."""
    try:
        return str(ipaddress.ip_address(target.address))
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            target.address, target.port, type=socket.SOCK_DGRAM
        )
    except socket.gaierror as error:
        raise BmcUnreachable(target, f"its name cannot be resolved: {error}") from None
    return str(found[0][4][0])
