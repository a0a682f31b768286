"""NVMe's own erase commands, down to the kernel's passthrough.

A controller that follows the specification stands behind the ioctl (QEMU's refuses every sanitize).
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner.drivers.plays.runner import PLAYBOOKS

sys.path.insert(0, str(PLAYBOOKS))
from library import sanitise_disks
from module_utils import nvme
from module_utils.channel import ServerFault

IDENTIFY, GET_LOG, FORMAT, SANITIZE = 0x06, 0x02, 0x80, 0x84
SANITIZE_LOG = 0x81
DONE, RUNNING, FAILED = 1, 2, 3
INVALID_OPCODE, INVALID_FIELD, INTERNAL_ERROR = 0x01, 0x02, 0x06
DO_NOT_RETRY = 0x4000


class PassthroughCommand(ctypes.Structure):
    """struct nvme_passthru_cmd of linux/nvme_ioctl.h."""

    _fields_ = [
        ("opcode", ctypes.c_uint8),
        ("flags", ctypes.c_uint8),
        ("rsvd1", ctypes.c_uint16),
        ("nsid", ctypes.c_uint32),
        ("cdw2", ctypes.c_uint32),
        ("cdw3", ctypes.c_uint32),
        ("metadata", ctypes.c_uint64),
        ("addr", ctypes.c_uint64),
        ("metadata_len", ctypes.c_uint32),
        ("data_len", ctypes.c_uint32),
        ("cdw10", ctypes.c_uint32),
        ("cdw11", ctypes.c_uint32),
        ("cdw12", ctypes.c_uint32),
        ("cdw13", ctypes.c_uint32),
        ("cdw14", ctypes.c_uint32),
        ("cdw15", ctypes.c_uint32),
        ("timeout_ms", ctypes.c_uint32),
        ("result", ctypes.c_uint32),
    ]


class ControllerModel:
    """A controller: its capabilities (as in Identify), and a sanitize that advances by itself."""

    def __init__(self) -> None:
        self.sanicap, self.oacs, self.fna = 0b11, 0b10, 0b100
        self.lba_format, self.protection = 0x11, 0b1010
        self.status = dict.fromkeys((SANITIZE, FORMAT), 0)
        self.sanitize_state, self.ends_as = 0, DONE
        self.looks_left = 0
        self.commands: list[tuple[int, int, int]] = []

    def ioctl(self, _: int, request: int, argument: bytearray, mutate: bool) -> int:
        assert request == nvme.NVME_IOCTL_ADMIN_CMD
        command = PassthroughCommand.from_buffer(argument)
        self.commands.append((command.opcode, command.nsid, command.cdw10))
        if command.opcode == IDENTIFY:
            self._answer(command, self._controller() if command.cdw10 else self._namespace())
        elif command.opcode == GET_LOG:
            assert command.cdw10 & 0xFF == SANITIZE_LOG
            self._answer(command, self._log())
        elif not self.status[command.opcode]:
            self._begin(command)
        return self.status.get(command.opcode, 0)

    def start_sanitize(self) -> None:
        self.sanitize_state, self.looks_left = RUNNING, 3

    def _begin(self, command: PassthroughCommand) -> None:
        if command.opcode == SANITIZE:
            self.start_sanitize()

    @staticmethod
    def _answer(command: PassthroughCommand, content: bytes) -> None:
        ctypes.memmove(command.addr, content, min(len(content), command.data_len))

    def _controller(self) -> bytes:
        page = bytearray(4096)
        page[256:258] = self.oacs.to_bytes(2, "little")
        page[328:332] = self.sanicap.to_bytes(4, "little")
        page[524] = self.fna
        return bytes(page)

    def _namespace(self) -> bytes:
        page = bytearray(4096)
        page[26], page[29] = self.lba_format, self.protection
        return bytes(page)

    def _log(self) -> bytes:
        if self.sanitize_state == RUNNING:
            self.looks_left -= 1
            if self.looks_left == 0:
                self.sanitize_state = self.ends_as
        progress = 0xFFFF if self.sanitize_state != RUNNING else 0x10000 // (self.looks_left + 1)
        return progress.to_bytes(2, "little") + self.sanitize_state.to_bytes(2, "little")


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch) -> ControllerModel:
    model = ControllerModel()
    monkeypatch.setattr(nvme.fcntl, "ioctl", model.ioctl)
    monkeypatch.setattr(nvme.time, "sleep", lambda _: None)
    return model


@pytest.fixture
def raw(tmp_path: Path) -> Any:
    node = tmp_path / "nvme0n1"
    node.touch()
    return SimpleNamespace(disk=SimpleNamespace(path=str(node), serial="D1", nvme_namespace=7))


def erase(raw: Any, *methods: str) -> tuple[str | None, list[str]]:
    """Return which method erased the disk, and the outcome of each that was tried."""
    attempts: list[dict[str, Any]] = []
    method = sanitise_disks.sanitise_by(raw, list(methods), attempts)
    return method, [attempt["outcome"] for attempt in attempts]


def sent(controller: ControllerModel, opcode: int) -> list[tuple[int, int]]:
    return [(nsid, cdw10) for code, nsid, cdw10 in controller.commands if code == opcode]


def test_what_a_disk_can_is_read_from_its_identity(controller: ControllerModel, raw: Any) -> None:
    with nvme.Controller(raw.disk.path) as disk:
        assert all(disk.capabilities().values())
        controller.sanicap, controller.fna = 0b10, 0
        assert disk.capabilities() == {
            "sanitize_crypto": False,
            "sanitize_block": True,
            "format_user_data": True,
            "format_crypto": False,
        }


@pytest.mark.parametrize(
    ("method", "action"), [("nvme_sanitize_crypto", 0b100), ("nvme_sanitize_block", 0b010)]
)
def test_a_sanitize_is_waited_for_until_the_disk_says_that_it_succeeded(
    controller: ControllerModel, raw: Any, method: str, action: int
) -> None:
    assert erase(raw, method, "overwrite") == (method, ["sanitised"])
    assert sent(controller, SANITIZE) == [(0, action)]
    assert controller.sanitize_state == DONE


def test_a_sanitize_that_fails_is_the_disks_fault_and_nothing_weaker_is_tried(
    controller: ControllerModel, raw: Any
) -> None:
    controller.ends_as = FAILED
    with pytest.raises(ServerFault, match="D1: the sanitize failed"):
        erase(raw, "nvme_sanitize_crypto", "nvme_format_crypto")
    assert sent(controller, FORMAT) == []


@pytest.mark.parametrize("status", [INVALID_OPCODE, INVALID_FIELD, INVALID_FIELD | DO_NOT_RETRY])
def test_a_refused_sanitize_is_told_and_the_next_method_tried(
    controller: ControllerModel, raw: Any, status: int
) -> None:
    controller.status[SANITIZE] = status
    outcome = erase(raw, "nvme_sanitize_crypto", "nvme_format_crypto")
    assert outcome == ("nvme_format_crypto", ["refused", "sanitised"])


def test_an_error_that_is_no_refusal_ends_the_wipe(controller: ControllerModel, raw: Any) -> None:
    controller.status[SANITIZE] = INTERNAL_ERROR
    with pytest.raises(ServerFault, match="NVMe status 0x0006"):
        erase(raw, "nvme_sanitize_crypto", "nvme_format_crypto")
    assert sent(controller, FORMAT) == []


def test_a_sanitize_of_a_run_before_is_waited_for(controller: ControllerModel, raw: Any) -> None:
    controller.start_sanitize()
    attempts: list[dict[str, Any]] = []
    sanitise_disks.await_running_sanitize(raw.disk, attempts)
    assert [(each["method"], each["outcome"]) for each in attempts] == [
        ("running_sanitize", "sanitised")
    ]
    assert controller.sanitize_state == DONE


def test_a_disk_whose_last_sanitize_failed_is_not_used(
    controller: ControllerModel, raw: Any
) -> None:
    controller.sanitize_state = FAILED
    with pytest.raises(ServerFault, match="its last sanitize failed"):
        sanitise_disks.await_running_sanitize(raw.disk, [])


@pytest.mark.parametrize(
    ("method", "settings"), [("nvme_format_crypto", 2), ("nvme_format_user_data", 1)]
)
def test_a_format_erases_its_namespace_and_keeps_how_it_is_laid_out(
    controller: ControllerModel, raw: Any, method: str, settings: int
) -> None:
    assert erase(raw, method) == (method, ["sanitised"])
    ((namespace, cdw10),) = sent(controller, FORMAT)
    assert namespace == 7
    assert cdw10 >> 9 & 0b111 == settings
    assert cdw10 & 0xF == controller.lba_format & 0xF
    assert cdw10 >> 4 & 1 == controller.lba_format >> 4 & 1
    assert cdw10 >> 5 & 0b111 == controller.protection & 0b111
    assert cdw10 >> 8 & 1 == controller.protection >> 3 & 1


def test_a_format_that_erases_nothing_is_never_sent(controller: ControllerModel, raw: Any) -> None:
    with nvme.Controller(raw.disk.path) as disk, pytest.raises(ValueError, match="erases nothing"):
        disk.format(7, 0)
    assert controller.commands == []
