"""The one thread of the process that owns pyghmi's IPMI sessions and sockets.

pyghmi keeps its sessions in module globals and is not safe with several threads on one BMC, so
everything passes through here as jobs with futures. Which BMC is asked what is `ipmi.py`'s.
"""

import logging
import math
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import cache, partial

from pyghmi.exceptions import IpmiException
from pyghmi.ipmi.private import session as pyghmi_session

from provisioner.drivers.bmc.ipmi_session import NO_ANSWER_CODE, IpmiSession, Response

_log = logging.getLogger(__name__)
_IDLE_S = 300.0
_SILENCE = ("timeout", "Session failed to initialize")
"""pyghmi's words for a login that got no answer; any other error is the BMC's own."""


class NoAnswer(Exception):
    """The BMC is silent, or the session is gone."""


class LoginFailed(Exception):
    """The BMC answered the login with an error; `str()` is its reason."""


class IpmiThread:
    """Runs jobs and pyghmi's event loop. Every method is safe to call from any thread."""

    def __init__(self) -> None:
        self._jobs: deque[Callable[[], None]] = deque()
        self._wake_receiver, self._wake_sender = socket.socketpair()
        self._wake_receiver.setblocking(False)
        self._wake_sender.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="ipmi", daemon=True)
        # pyghmi would start a second thread for socket input and hand packets over to the waiter.
        # With a single waiter that costs two thread switches a packet, its select() breaks in a
        # process with more than 1,024 open files, and it cannot be woken for a new job without a
        # race. So it is told that the input thread exists, and the wait is done right here.
        pyghmi_session.iothread = self._thread
        pyghmi_session.iothreadready = True
        pyghmi_session._io_wait = self._wait
        self._thread.start()

    def login(self, address: str, port: int, username: str, password: str) -> Future[IpmiSession]:
        """Log in to a BMC (`address`: numeric). Raises NoAnswer or LoginFailed."""
        future: Future[IpmiSession] = Future()
        self._submit(partial(self._login, future, address, port, username, password))
        return future

    def command(
        self,
        session: IpmiSession,
        netfn: int,
        command: int,
        data: tuple[int, ...] = (),
        *,
        retransmit: bool = True,
        lun: int = 0,
    ) -> Future[Response]:
        """Send one command in a session which has no other command under way.

        A completion code other than 0 is an ordinary result. Raises NoAnswer.
        """
        future: Future[Response] = Future()

        def answered(response: Response) -> None:
            if response["code"] == NO_ANSWER_CODE:
                _fail(future, NoAnswer(response["error"]))
            elif not future.done():
                future.set_result(response)

        def send() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                session.ask(netfn, command, data, answered, retransmit=retransmit, lun=lun)
            except IpmiException as error:
                _fail(future, NoAnswer(str(error)))

        self._submit(send)
        return future

    def abandon(self, session: IpmiSession) -> None:
        """Close a session without waiting for anything."""
        self._submit(session.abandon)

    def _submit(self, job: Callable[[], None]) -> None:
        self._jobs.append(job)
        with suppress(BlockingIOError):  # the pipe is full of wake-ups already
            self._wake_sender.send(b"\0")

    def _login(
        self, future: Future[IpmiSession], address: str, port: int, username: str, password: str
    ) -> None:
        if not future.set_running_or_notify_cancel():
            return

        def logged_on(response: Response) -> None:
            error = response.get("error")
            if error is None:
                if not future.done():
                    future.set_result(session)
            elif error in _SILENCE:
                _fail(future, NoAnswer("no answer to the login"))
            else:
                _fail(future, LoginFailed(error))

        try:
            # bytes: with str pyghmi files a session under one key and removes it under another.
            session = IpmiSession(
                address,
                username.encode(),
                password.encode(),
                port=port,
                onlogon=logged_on,
                keepalive=False,  # an idle session is logged out: BMCs have few slots
            )
        except (IpmiException, OSError) as error:
            _fail(future, NoAnswer(str(error)))

    def _run(self) -> None:
        while True:
            try:
                while self._jobs:
                    self._jobs.popleft()()
                pyghmi_session.Session.wait_for_rsp(timeout=_IDLE_S)
            except Exception:
                # One BMC's malformed packet must not end the service of all others. The command
                # it belonged to runs into its own time limit.
                _log.exception("IPMI thread: a packet or job could not be processed")

    def _wait(self, timeout: float, _address: object = None, _events: object = None) -> None:
        """Stands in for pyghmi's `_io_wait`: sleep until a packet, a wake-up or the timeout."""
        poll = select.poll()
        poll.register(self._wake_receiver, select.POLLIN)
        for udp in pyghmi_session.iosockets:
            poll.register(udp, select.POLLIN)
        poll.poll(math.ceil(max(0.0, timeout) * 1000))
        with suppress(BlockingIOError):  # drained
            while self._wake_receiver.recv(4096):
                pass
        pyghmi_session._io_graball(pyghmi_session.iosockets, {})


@cache
def ipmi_thread() -> IpmiThread:
    """The process's one IPMI thread, started by the first call."""
    return IpmiThread()


def _fail(future: Future[IpmiSession] | Future[Response], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
