"""Reads single values of the kernel's sysfs, where anything may be gone between two looks."""

from __future__ import annotations

from pathlib import Path


def folders(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def text(file: Path) -> str | None:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:  # gone meanwhile, or not readable as things are
        return None


def count(file: Path) -> int | None:
    value = text(file)
    return int(value) if value and value.isdecimal() else None
