"""Sanitise every disk of the server, all at once, and prove it by reading each one back.

The provisioner decides which methods are tried, in which order. The next method is tried only if
the disk *refuses* one; a disk that reports success and keeps its data is at fault.

Variables: `disks`, a list of {serial, methods}. Result: `results`, one for each disk.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time

from module_utils.channel import Configuration, Failure, ServerFault, progress
from module_utils.disks import Disk, RawDisk, disks
from module_utils.nvme import (
    FORMAT_CRYPTO_ERASE,
    FORMAT_USER_DATA_ERASE,
    SANITIZE_BLOCK_ERASE,
    SANITIZE_CRYPTO_ERASE,
    Controller,
    NvmeError,
)
from module_utils.readback import ReadBack

TYPE_CHECKING = False  # importing typing costs a slow server 30 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Report = Callable[[float], None]
    Run = Callable[[RawDisk, Report], None]

DISCARD_STEP = 1 << 30
REPLACE = "replace the disk, or destroy it physically"


class Refused(Exception):
    """The disk does not support this method."""


def sanitize(action: int) -> Run:
    def run(raw: RawDisk, report: Report) -> None:
        with Controller(raw.disk.path) as controller:
            _nvme(lambda: controller.start_sanitize(action))
            if not controller.wait_for_sanitize(report):
                raise ServerFault(f"disk {raw.disk.serial}: the sanitize failed", REPLACE)

    return run


def format_namespace(settings: int) -> Run:
    def run(raw: RawDisk, report: Report) -> None:
        with Controller(raw.disk.path) as controller:
            _nvme(lambda: controller.format(raw.disk.nvme_namespace, settings))

    return run


def _nvme(command: Callable[[], None]) -> None:
    try:
        command()
    except NvmeError as error:
        if error.refused:
            raise Refused(str(error)) from error
        raise ServerFault(str(error), REPLACE) from error


def discard_and_overwrite(raw: RawDisk, report: Report) -> None:
    size = raw.disk.size_bytes
    try:
        for offset in range(0, size, DISCARD_STEP):
            raw.discard(offset, min(DISCARD_STEP, size - offset))
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EREMOTEIO):
            raise Refused(f"discard: {error.strerror}") from error
        raise
    overwrite(raw, report)


def overwrite(raw: RawDisk, report: Report) -> None:
    size = raw.disk.size_bytes
    raw.buffer[:] = bytes(len(raw.buffer))
    for offset in range(0, size, len(raw.buffer)):
        raw.write_buffer(offset, raw.buffer[: min(len(raw.buffer), size - offset)])
        report((offset + len(raw.buffer)) / size)
    raw.flush()


# Names as in provisioner/domain/sanitisation.py; the flag: does the method leave zeroes?
METHODS = {
    "nvme_sanitize_crypto": (sanitize(SANITIZE_CRYPTO_ERASE), False),
    "nvme_sanitize_block": (sanitize(SANITIZE_BLOCK_ERASE), False),
    "nvme_format_crypto": (format_namespace(FORMAT_CRYPTO_ERASE), False),
    "nvme_format_user_data": (format_namespace(FORMAT_USER_DATA_ERASE), False),
    "discard_and_overwrite": (discard_and_overwrite, True),
    "overwrite": (overwrite, True),
}


class Reporter:
    """Writes the progress of one disk to the step's log, a line for each tenth."""

    def __init__(self, serial: str, method: str) -> None:
        self.text, self.next = f"{serial}: {method}", 0.1

    def __call__(self, done: float) -> None:
        if self.next <= done < 1:
            progress(f"{self.text} {done:.0%}")
            self.next = int(done * 10) / 10 + 0.1


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def await_running_sanitize(disk: Disk, attempts: list[dict[str, Any]]) -> None:
    """A sanitize that an earlier run started is waited for: it cannot be stopped, and a disk
    takes no other command meanwhile."""
    if not disk.nvme_namespace:
        return
    began = time.monotonic()
    with Controller(disk.path) as controller:
        try:
            state, _ = controller.sanitize_state()
        except NvmeError:
            return  # no sanitize log: no sanitize
        if state == 2:
            progress(f"{disk.serial}: a sanitize is running already, waiting for its end")
            ended_well = controller.wait_for_sanitize(Reporter(disk.serial, "running sanitize"))
            outcome = "sanitised" if ended_well else "failed"
            attempts.append(attempt("running_sanitize", outcome, "started by another run", began))
            state = 1 if ended_well else 3
        if state == 3:
            raise ServerFault(f"disk {disk.serial}: its last sanitize failed", REPLACE)


def attempt(method: str, outcome: str, detail: str, began: float) -> dict[str, Any]:
    seconds = round(time.monotonic() - began, 3)
    return {"method": method, "outcome": outcome, "detail": detail, "seconds": seconds}


def sanitise_by(raw: RawDisk, methods: list[str], attempts: list[dict[str, Any]]) -> str | None:
    """Carry out the first method that the disk accepts. Returns its name, or None."""
    for method in methods:
        began = time.monotonic()
        try:
            METHODS[method][0](raw, Reporter(raw.disk.serial, method))
        except Refused as refusal:
            attempts.append(attempt(method, "refused", str(refusal), began))
            progress(f"{raw.disk.serial}: {method} refused by the disk ({refusal})")
            continue
        attempts.append(attempt(method, "sanitised", "", began))
        return method
    return None


def sanitise(disk: Disk, methods: list[str], result: dict[str, Any]) -> None:
    """Fill in `result` step by step, so that a failure leaves its evidence."""
    attempts = result["attempts"]
    await_running_sanitize(disk, attempts)
    seed = os.urandom(16).hex()
    with RawDisk(disk) as raw:
        readback = ReadBack(raw, seed)
        result.update(sample_seed=seed, **readback.evidence())
        readback.mark()
        method = sanitise_by(raw, methods, attempts)
        if method is None:
            raise ServerFault(f"disk {disk.serial} refused every method of the policy", REPLACE)
        result["method"] = method
        left = readback.check(must_be_zero=METHODS[method][1])
        if left:
            raise ServerFault(
                f"disk {disk.serial} ({disk.model}) reported success for {method} and kept its "
                f"data: {left}",
                REPLACE,
            )
        raw.reread_partitions()
    result.update(verified=True, finished_at=now())
    progress(f"{disk.serial}: sanitised by {method} and read back")


def sanitise_thread(
    disk: Disk, methods: list[str], result: dict[str, Any], failures: list[Failure]
) -> None:
    try:
        sanitise(disk, methods, result)
    except Failure as failure:
        failures.append(failure)
    except OSError as error:
        failures.append(ServerFault(f"disk {disk.serial}: {error.strerror or error}", REPLACE))


def matched(orders: list[dict[str, Any]]) -> list[tuple[Disk, list[str]]]:
    """Pair each order with its disk. Raises ServerFault unless every disk has exactly one order."""
    unknown = {m for order in orders for m in order["methods"]} - METHODS.keys()
    if unknown:
        raise Configuration(
            f"unknown sanitisation method: {', '.join(sorted(unknown))}",
            "upgrade the playbooks together with the provisioner",
        )
    present: dict[str, Disk] = {}
    for disk in disks():
        if disk.serial in present:
            raise ServerFault(
                f"two block devices have the serial number {disk.serial!r}: {disk.name} and "
                f"{present[disk.serial].name}",
                "keep one NVMe namespace on each disk, then inspect the server again",
            )
        present[disk.serial] = disk
    wanted = {order["serial"] for order in orders}
    wrong = [f"disk {serial} is absent" for serial in sorted(wanted - present.keys())]
    wrong += [
        f"disk {serial or '(no serial)'} ({present[serial].name}) was never inspected"
        for serial in sorted(present.keys() - wanted)
    ]
    if wrong:
        raise ServerFault(
            "; ".join(wrong), "find the disk, or account for it, then inspect the server again"
        )
    return [(present[order["serial"]], order["methods"]) for order in orders]


def main(variables: dict[str, Any]) -> dict[str, Any]:
    work = matched(variables["disks"])
    results: list[dict[str, Any]] = []
    failures: list[Failure] = []
    threads: list[threading.Thread] = []
    for disk, methods in work:
        result = {
            "serial": disk.serial,
            "model": disk.model,
            "firmware": disk.firmware,
            "size_bytes": disk.size_bytes,
            "method": None,
            "attempts": [],
            "verified": False,
            "started_at": now(),
            "finished_at": None,
            "tool_versions": {"kernel": os.uname().release, "python": sys.version.split()[0]},
        }
        results.append(result)
        arguments = (disk, methods, result, failures)
        threads.append(threading.Thread(target=sanitise_thread, args=arguments))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        reasons = "; ".join(failure.reason for failure in failures)
        raise ServerFault(reasons, failures[0].next_action, {"results": results})
    return {"results": results}
