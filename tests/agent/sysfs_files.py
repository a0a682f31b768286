"""A sysfs, or a /dev, made for a test."""

from pathlib import Path


def put(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        target = folder / ("class" if name == "kind" else name)
        target.write_text(f"{content}\n")
    return folder
