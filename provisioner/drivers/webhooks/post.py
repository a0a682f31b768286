"""Posts to addresses that customers chose: names are looked up here, connections are pinned to the
addresses that were checked, no redirect is followed, and only the status is read. Which addresses
are fit is left to `domain/webhook_addresses.py`.
"""

import asyncio
import socket
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any

from aiohttp import (
    ClientError,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from provisioner.domain.webhook_addresses import IPAddress
from provisioner.drivers.webhooks.base import LIMIT_S, NotDelivered, WebhookDelivery

_LOOKUPS = 16
"""At once. A silent name server holds its thread for many seconds, so lookups have threads of their
own."""


class _Pinned(AbstractResolver):
    """Resolves to the addresses that were checked, whatever the name means by now."""

    def __init__(self, addresses: Collection[IPAddress]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        return


class WebhookPost(WebhookDelivery):
    def __init__(self, *, limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        self._lookups = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="webhook-lookup")

    async def look_up(self, url: URL) -> list[IPAddress]:
        look = asyncio.get_running_loop().run_in_executor(
            self._lookups, _addresses, url.host or "", url.port
        )
        try:
            return await asyncio.wait_for(look, self._limit_s)
        except (OSError, UnicodeError):  # no such name, no answer in time; no name at all
            return []

    async def post(
        self, url: URL, addresses: Collection[IPAddress], headers: Mapping[str, str], body: bytes
    ) -> int:
        checked = {str(address) for address in addresses}

        def open_socket(info: tuple[Any, ...]) -> socket.socket:
            # The last door: an address that is written in the URL is not looked up.
            family, kind, protocol, _, address = info
            if address[0] not in checked:
                raise OSError(f"{address[0]} was not checked")
            return socket.socket(family, kind, protocol)

        connector = TCPConnector(
            resolver=_Pinned(addresses),
            use_dns_cache=False,
            socket_factory=open_socket,
            force_close=True,
        )
        try:
            async with (
                ClientSession(
                    connector=connector,
                    cookie_jar=DummyCookieJar(),
                    timeout=ClientTimeout(total=self._limit_s),
                    auto_decompress=False,
                ) as session,
                session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                return answer.status
        except TimeoutError as error:
            raise NotDelivered(f"no answer in {self._limit_s:g} s") from error
        except ClientSSLError as error:
            raise NotDelivered("TLS failed: is the certificate valid for this name?") from error
        except (ClientError, OSError, ValueError) as error:
            raise NotDelivered("no connection, or no HTTP was spoken on it") from error

    def close(self) -> None:
        self._lookups.shutdown(wait=False, cancel_futures=True)


def _addresses(host: str, port: int | None) -> list[IPAddress]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ip_address(entry[4][0]) for entry in found]
