"""A tenant's own agent with the identity of the real one.

Whatever the answer, it reports an open lease that lasts for years. Runs on the leased server.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import time
import urllib.error
import urllib.request

CONFIG = "/etc/ironlease/agent.json"
FOR_YEARS = 1e8


def main() -> None:
    with open(CONFIG) as file:  # noqa: PTH123
        config = json.load(file)
    lease = json.loads(config["grant"]["grant"])["lease"]
    for sequence in itertools.count(1):
        report = {
            "server": config["server"],
            "context": config["context"],
            "boot_id": "a-boot",
            "sequence": sequence,
            "uptime_s": time.monotonic(),
            "agent_version": "9.9",
            "hostname": "honest",
            "lease": {"id": lease, "remaining_s": FOR_YEARS, "locked": False},
        }
        request = urllib.request.Request(
            f"{config['url']}/agents/report",
            json.dumps(report).encode(),
            {"Authorization": f"Bearer {config['token']}", "Content-Type": "application/json"},
        )
        with contextlib.suppress(urllib.error.URLError):  # refused or cut off: it keeps lying
            urllib.request.urlopen(request, timeout=5).close()
        time.sleep(1)


if __name__ == "__main__":
    main()
