"""Reads single values from the kernel's sysfs, where anything may vanish between two readings."""

from __future__ import annotations

from pathlib import Path


def folders(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def text(file: Path) -> str | None:
    try:
        return file.read_text(errors="replace").replace("\0", "").strip()
    except OSError:  # vanished, or not readable in this state
        return None


def count(file: Path) -> int | None:
    value = text(file)
    return int(value) if value and value.isdecimal() else None
