"""A process of its own that sends reports as so many agents would: each has its own address and
time, opens a connection for each report, and tells its health once a minute.

It is given a JSON file with the order, and writes its result as JSON to standard output.
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


@dataclass
class Order:
    port: int
    seconds: float
    interval_s: float
    health: dict[str, Any]
    agents: list[list[str]]


@dataclass
class Result:
    """Latencies in milliseconds, from when a report was due to the end of its answer."""

    latencies_ms: list[float] = field(default_factory=list)
    lateness_ms: list[float] = field(default_factory=list)
    """Of these, how long it took this process to begin."""
    sent: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    answered: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By server: when the last answered report was sent (Unix), and its last told uptime."""


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
        for agent in agents:
            first = self._begun + self._random.random() * self._order.interval_s
            self._loop.call_at(first, self._start, agent, first)
        await asyncio.sleep(self._order.seconds)
        while self._under_way:
            await asyncio.wait(self._under_way)
        return self.result

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
                status = await self._exchange(agent, request)
        except (OSError, TimeoutError) as error:
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

    async def _exchange(self, agent: "_Simulated", request: bytes) -> bytes:
        with socket.socket() as connection:
            connection.setblocking(False)
            connection.bind((agent.address, 0))
            await self._loop.sock_connect(connection, ("127.0.0.1", self._order.port))
            await self._loop.sock_sendall(connection, request)
            answer = b""
            while block := await self._loop.sock_recv(connection, 65536):
                answer += block
            return answer[9:12]


class _Simulated:
    """One agent: what it says each time, and what changes."""

    def __init__(self, agent: Agent, number: int, health_phase_s: float) -> None:
        self.server = agent.server
        self.address = f"127.1.{number >> 8 & 255}.{number & 255 or 1}"
        self.sequence = 1
        self.next_health_s = 100 + health_phase_s
        self.told_s = 0.0
        said = json.dumps(report(agent, 0, 0.5, None), separators=(",", ":")).encode()
        self._before, _, rest = said.partition(b'"sequence":0,"uptime_s":0.5')
        middle, _, end = rest.partition(_HEALTH)
        self._after = (middle, end)
        self._head = (
            "POST /agents/report HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Accept: application/json\r\nAuthorization: Bearer {agent.token}\r\nContent-Length: "
        ).encode()

    def request(self, uptime_s: float, health: bytes) -> bytes:
        middle, end = self._after
        body = b'%s"sequence":%d,"uptime_s":%.3f%s"health":%s%s' % (
            *(self._before, self.sequence, uptime_s, middle, health, end),
        )
        return b"%s%d\r\n\r\n%s" % (self._head, len(body), body)


async def _send(order: Order) -> Result:
    return await Sender(order).run()


def main() -> None:
    order = Order(**json.loads(Path(sys.argv[1]).read_text()))
    gc.freeze()
    gc.disable()  # its own pauses are nobody's latency
    json.dump(asdict(asyncio.run(_send(order))), sys.stdout)
