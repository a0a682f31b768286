"""Reports of a server's health, as its agent would send them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.protocol import TENANT
from provisioner.domain.health import HEALTHY, Sample, Verdict, remember, verdict

START = datetime(2030, 1, 1, tzinfo=UTC)
UUID = "GPU-0"
PCI = "0000:1b:00.0"
LEASE = "lea_1"


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def health(gpu: Mapping[str, Any] | None = None, **other: Any) -> dict[str, Any]:
    """The health of a server with one GPU."""
    return {
        "state": "ok",
        "reason": "",
        "gpus": [{"index": 0, "uuid": UUID, "pci": PCI, **(gpu or {})}],
        "events": [],
        **other,
    }


def report(
    second: float, said: Mapping[str, Any], *, boot: str = "b1", context: str = "tenant"
) -> Sample:
    stored = {"boot_id": boot, "context": context, "uptime_s": 1000.0 + second, "health": said}
    return Sample.of(stored, at(second), lease_id=LEASE if context == TENANT else "")


def xid(number: int, second: float = 0.0, pci: str = PCI) -> dict[str, Any]:
    return {"id": f"k{number}", "pci": pci, "xid": number, "at_s": 1000.0 + second, "text": ""}


def judge(*samples: Sample, previous: Verdict = HEALTHY, **more: Any) -> Verdict:
    """Return the verdict after these reports, at the time of the last."""
    history: tuple[Sample, ...] = ()
    for sample in samples:
        history = remember(history, sample)
        previous = verdict(history, now=sample.at, previous=previous, **more)
    return previous


def rules(judged: Verdict) -> list[str]:
    return [finding.rule for finding in judged.findings]
