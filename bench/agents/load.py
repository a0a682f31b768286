"""A process that behaves like many agents, and measures latency.

Each agent reports at its own times over a connection that it keeps, with its health once a minute;
a tenant's waits for a newer grant on another connection. The order comes as a JSON file, the result
goes to standard output as JSON.
"""

import asyncio
import gc
import json
import random
import socket
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.agents.fleet import Agent, report

HEALTH_S = 60.0
_JITTER = 0.1
_GIVE_UP_S = 15.0
"""As long as an agent waits for an answer."""
_HEALTH, _NOTHING = b'"health":null', b"null"
_ECHO = b'"echo":""', b'"echo":"%s"' % (b"A" * 32)
"""The grant is requested together with the health."""


@dataclass
class Order:
    port: int
    seconds: float
    interval_s: float
    health: dict[str, Any]
    agents: list[list[Any]]


@dataclass
class Result:
    """Latencies in milliseconds, from when a report was due to the end of its answer."""

    latencies_ms: list[float] = field(default_factory=list)
    lateness_ms: list[float] = field(default_factory=list)
    """The part of each latency that this process took to begin."""
    sent: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    answered: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By server: when the last answered report was sent (Unix), and the last uptime reported."""


class Sender:
    def __init__(self, order: Order) -> None:
        self._order = order
        self._loop = asyncio.get_running_loop()
        self._random = random.Random(1)
        self._health = json.dumps(order.health, separators=(",", ":")).encode()
        self._under_way: set[asyncio.Task[None]] = set()
        self._begun = 0.0
        self.result = Result()

    async def run(self) -> Result:
        agents = [
            _Simulated(Agent(*words), number, self._random.random() * HEALTH_S)
            for number, words in enumerate(self._order.agents)
        ]
        self._begun = self._loop.time()
        waiting = []
        for agent in agents:
            first = self._begun + self._random.random() * self._order.interval_s
            self._loop.call_at(first, self._start, agent, first)
            if agent.has_lease:
                waiting.append(self._loop.create_task(self._wait(agent, first)))
        await asyncio.sleep(self._order.seconds)
        while self._under_way:
            await asyncio.wait(self._under_way)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return self.result

    async def _wait(self, agent: "_Simulated", first: float) -> None:
        """Wait for a newer grant, which never comes."""
        await asyncio.sleep(first - self._loop.time())
        while True:
            try:
                status = await self._exchange(agent.waiting, agent.wait_request)
            except OSError as error:
                agent.waiting.close()
                status = type(error).__name__.encode()
            if status != b"204":
                self._failed(f"waiting: {status.decode()}")
                await asyncio.sleep(1)

    def _start(self, agent: "_Simulated", due: float) -> None:
        if due - self._begun >= self._order.seconds:
            return
        task = self._loop.create_task(self._send(agent, due))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        spread = 1 - _JITTER + 2 * _JITTER * self._random.random()
        following = due + self._order.interval_s * spread
        self._loop.call_at(following, self._start, agent, following)

    async def _send(self, agent: "_Simulated", due: float) -> None:
        uptime_s = round(100 + due - self._begun, 3)
        async with agent.reporting.used:  # an agent sends one report after the other
            await self._report(agent, due, uptime_s)

    async def _report(self, agent: "_Simulated", due: float, uptime_s: float) -> None:
        tells = uptime_s >= agent.next_health_s
        if tells:
            agent.next_health_s = uptime_s + HEALTH_S
        agent.sequence += 1
        request = agent.request(uptime_s, self._health if tells else _NOTHING)
        self.result.sent += 1
        self.result.lateness_ms.append(round((self._loop.time() - due) * 1e3, 2))
        sent_at = time.time()
        try:
            async with asyncio.timeout(_GIVE_UP_S):
                status = await self._exchange(agent.reporting, request)
        except (OSError, TimeoutError) as error:
            agent.reporting.close()
            return self._failed(type(error).__name__)
        if status != b"200":
            return self._failed(status.decode() or "no answer")
        self.result.latencies_ms.append(round((self._loop.time() - due) * 1e3, 2))
        if tells:
            agent.told_s = uptime_s
        self.result.answered[agent.server] = (sent_at, agent.told_s)
        return None

    def _failed(self, why: str) -> None:
        self.result.failures[why] = self.result.failures.get(why, 0) + 1

    async def _exchange(self, connection: "_Connection", request: bytes) -> bytes:
        """Return the answer's status; retry once on a new connection if the kept one was closed."""
        try:
            return await self._ask(connection, request)
        except ConnectionError:
            connection.close()
            return await self._ask(connection, request)

    async def _ask(self, connection: "_Connection", request: bytes) -> bytes:
        if connection.socket is None:
            connection.socket = socket.socket()
            connection.socket.setblocking(False)
            connection.socket.bind((connection.address, 0))
            await self._loop.sock_connect(connection.socket, ("127.0.0.1", self._order.port))
        await self._loop.sock_sendall(connection.socket, request)
        answer = b""
        while not _is_whole(answer):
            block = await self._loop.sock_recv(connection.socket, 65536)
            if not block:
                raise ConnectionResetError("ended without an answer")
            answer += block
        return answer[9:12]


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    _, _, length = head.lower().partition(b"content-length:")
    return len(body) >= int(length.split(b"\r\n")[0] or 0)


class _Connection:
    """A connection kept open between exchanges."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket: socket.socket | None = None
        self.used = asyncio.Lock()

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None


class _Simulated:
    """One agent: the requests it sends, and what changes in them."""

    def __init__(self, agent: Agent, number: int, health_phase_s: float) -> None:
        self.server = agent.server
        self.has_lease = agent.lease is not None
        address = f"127.1.{number >> 8 & 255}.{number & 255}"
        self.reporting, self.waiting = _Connection(address), _Connection(address)
        self.sequence = 1
        self.next_health_s = 100 + health_phase_s
        self.told_s = 0.0
        said = json.dumps(report(agent, 0, 0.5, None), separators=(",", ":")).encode()
        self._before, _, rest = said.partition(b'"sequence":0,"uptime_s":0.5')
        middle, _, end = rest.partition(_HEALTH)
        self._after = (middle, end)
        head = (
            "Host: 127.0.0.1\r\nAccept: application/json\r\nConnection: keep-alive\r\n"
            f"Authorization: Bearer {agent.token}\r\n"
        )
        self._head = (
            f"POST /agents/report HTTP/1.0\r\n{head}"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()
        self.wait_request = f"GET /agents/grant?after=1&echo=AAAA HTTP/1.0\r\n{head}\r\n".encode()

    def request(self, uptime_s: float, health: bytes) -> bytes:
        middle, end = self._after
        if health != _NOTHING:
            end = end.replace(*_ECHO)
        body = b'%s"sequence":%d,"uptime_s":%.3f%s"health":%s%s' % (
            *(self._before, self.sequence, uptime_s, middle, health, end),
        )
        return b"%s%d\r\n\r\n%s" % (self._head, len(body), body)


async def _send(order: Order) -> Result:
    return await Sender(order).run()


def main() -> None:
    order = Order(**json.loads(Path(sys.argv[1]).read_text()))
    gc.disable()  # its own pauses must not count as latency
    json.dump(asdict(asyncio.run(_send(order))), sys.stdout)
