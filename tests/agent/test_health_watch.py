"""The reader is a process of its own: whatever happens to it, the agent keeps reporting."""

import os
from pathlib import Path

import pytest
from gpu_agent import Reader

from agent.kernel_log import KernelLog, xid
from agent.signals import Values
from agent.watch import Watch
from lab.nvml import FakeNvml


def is_ok(health: Values) -> bool:
    return health["state"] == "ok"


def test_a_call_that_hangs_costs_the_reader_and_is_named(gpus: FakeNvml, reader: Reader) -> None:
    reader.start()
    reader.until(is_ok)
    gpus.hang("nvmlDeviceGetPowerUsage", 2)
    hung = reader.until(lambda health: health["state"] == "hung")
    assert hung["reason"] == "nvmlDeviceGetPowerUsage of GPU 2 has not returned"
    assert hung["gpus"] == []


def test_a_driver_that_hangs_from_the_start_is_found(gpus: FakeNvml, reader: Reader) -> None:
    gpus.hang("nvmlInitWithFlags", "system")
    reader.start()
    hung = reader.until(lambda health: health["state"] == "hung")
    assert hung["reason"] == "nvmlInit has not returned"


def test_slow_calls_are_no_hang(gpus: FakeNvml, reader: Reader) -> None:
    gpus.set(0, "delay_ms.nvmlDeviceGetTemperatureV", 1000)
    reader.start()
    assert len(reader.until(is_ok)["gpus"]) == 8


def test_a_reader_that_crashes_is_told(reader: Reader) -> None:
    reader.start()
    reader.until(is_ok)
    reader.end()
    health = reader.watch.health()
    assert (health["state"], health["gpus"]) == ("failed", [])


def test_the_next_reader_makes_it_good_again(gpus: FakeNvml, reader: Reader) -> None:
    gpus.hang("nvmlDeviceGetName")
    reader.start()
    reader.until(lambda health: health["state"] == "hung")
    reader.end()
    gpus.unset("all", "delay_ms.nvmlDeviceGetName")
    reader.start()
    reader.until(is_ok)


def test_an_error_is_told_before_the_next_report(gpus: FakeNvml, reader: Reader) -> None:
    reader.start()
    reader.until(is_ok)
    gpus.xid(6, 119)
    [event] = reader.until(lambda health: bool(health["events"]))["events"]
    assert (event["xid"], event["pci"]) == (119, "0000:d1:00.0")


def test_an_old_driver_lacks_signals_and_nothing_else(
    gpus: FakeNvml, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", gpus.environment(old_driver=True)["LD_LIBRARY_PATH"])
    reader.start()
    gpu = reader.until(is_ok)["gpus"][0]
    assert gpu["temperature_c"] == 34
    assert gpu["clocks_event_reasons"] == 1
    assert gpu["remap_pending"] is False
    assert gpu["errors"] == []
    newer = {"temperature_margin_c", "recovery_action", "fabric_state", "sram_threshold_exceeded"}
    assert newer.isdisjoint(gpu)


def test_without_a_library_there_is_nothing_to_read(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH")
    reader.start()
    absent = reader.until(lambda health: health["state"] == "absent")
    assert absent["reason"].startswith("no NVIDIA driver: libnvidia-ml.so.1")


def test_without_a_loaded_driver_there_is_nothing_to_read(gpus: FakeNvml, reader: Reader) -> None:
    gpus.file.unlink()
    reader.start()
    absent = reader.until(lambda health: health["state"] == "absent")
    assert absent["reason"].startswith("NVML failed to start: ")


def test_the_machine_is_read_beside_the_gpus(reader: Reader) -> None:
    reader.start()
    health = reader.until(lambda health: "gpus_on_bus" in health)
    assert {"disks", "links"} <= health.keys()


RECORDS = [
    (
        "3,1201,88123456,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, name=python, GPU has fallen "
        "off the bus.\n SUBSYSTEM=pci\n",
        {"id": "k1201", "pci": "0000:3b:00.0", "xid": 79, "at_s": 88.123456},
    ),
    (
        "3,7,5000000,-;NVRM: Xid (PCI:00000000:C1:00.0): 154, GPU recovery action changed from "
        "0x0 (None) to 0x1 (GPU Reset Required)",
        {"id": "k7", "pci": "0000:c1:00.0", "xid": 154, "at_s": 5.0},
    ),
]


@pytest.mark.parametrize(("record", "expected"), RECORDS)
def test_the_kernels_words_are_understood(record: str, expected: Values) -> None:
    event = xid(record)
    assert event is not None
    assert {name: event[name] for name in expected} == expected
    assert event["text"]


def test_other_records_are_none_of_ours() -> None:
    assert xid("6,1,2,-;NVRM: loading NVIDIA UNIX x86_64 Kernel Module  570.124.06") is None
    assert xid("garbage") is None


def test_the_kernel_log_is_followed(tmp_path: Path) -> None:
    read, write = os.pipe2(os.O_DIRECT)  # a pipe of packets, as /dev/kmsg is one of records
    log = KernelLog(Path(f"/proc/self/fd/{read}"))
    assert list(log.xids()) == []
    for record, _ in RECORDS:
        os.write(write, record.encode())
    assert [event["xid"] for event in log.xids()] == [79, 154]
    for file in (read, write, log.file):
        os.close(file)


def event(kind: str, number: int, at: float, text: str = "") -> Values:
    return {
        "id": f"{kind}{at}",
        "pci": "0000:3b:00.0",
        "xid": number,
        "at_s": at,
        "text": text,
    }


def noted(*events: Values) -> list[tuple[int, str]]:
    watch = Watch(lambda: None, kernel_log=Path("/nonexistent"))
    for one in events:
        watch.note(one)
    return [(one["xid"], one["text"]) for one in watch.health()["events"]]


def test_an_error_told_by_driver_and_kernel_is_one() -> None:
    driver, kernel = event("n", 79, 10.0), event("k", 79, 10.2, "words")
    assert noted(driver, kernel) == noted(kernel, driver) == [(79, "words")]


def test_two_errors_stay_two() -> None:
    twice = [event(kind, 31, at) for at in (10.0, 10.5) for kind in ("n", "k")]
    assert len(noted(*twice)) == 2
    assert len(noted(event("n", 31, 10.0), event("k", 31, 20.0))) == 2
    assert len(noted(event("n", 31, 10.0), event("k", 13, 10.0))) == 2
