"""Makes a Debian root with mmdebstrap, from the package sources that this machine uses.

Callers decide what goes into it.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

SUITE = "bookworm"
_MERGED_USR = "/usr/share/mmdebstrap/hooks/merged-usr"
_UNWANTED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


class BuildError(Exception):
    """A tool of the image build failed; the text holds its last output."""


def package_names(file: Path) -> list[str]:
    """Return the entries of a package list: one per line; lines starting with `#` are comments."""
    lines = file.read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def make_root(
    root: Path,
    packages: Sequence[str],
    *,
    variant: str,
    hook: Path,
    files: Path | None = None,
    environment: Mapping[str, str],
) -> None:
    """Install `packages` into the new folder `root`; `hook` is mmdebstrap's customise hook.

    The tree `files` is copied into the root before packages are installed, so its configuration
    files win. Recommends and documentation are left out. Raises `BuildError`.
    """
    run(
        [
            "mmdebstrap",
            "--quiet",
            "--mode=root",
            f"--variant={variant}",
            f"--include={','.join(packages)}",
            '--aptopt=APT::Install-Recommends "false"',
            '--aptopt=Acquire::Languages "none"',
            *(f"--dpkgopt=path-exclude={path}" for path in _UNWANTED),
            # Otherwise the usrmerge package is installed, and perl with it.
            f"--hook-dir={_MERGED_USR}",
            *([f'--essential-hook=cp -RT {files} "$1"'] if files else []),
            f"--customize-hook={hook}",
            SUITE,
            str(root),
            *_sources(),
        ],
        environment=environment,
    )


def run(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    given: str = "",
) -> str:
    """Run a tool and return its standard output. Raises `BuildError` with its error output."""
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            cwd=cwd,
            input=given,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
        )
    except FileNotFoundError as error:
        raise BuildError(f"{command[0]} is missing: run `make system`") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-15:]
        raise BuildError("\n".join([f"{command[0]} ended with {done.returncode}:", *said]))
    return done.stdout


def _sources() -> list[str]:
    """Return this machine's own sources of the suite.

    None on a machine with another suite, where mmdebstrap's default serves.
    """
    found = run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
            "Origin: Debian",
        ]
    )
    ours = {SUITE, f"{SUITE}-updates", f"{SUITE}-security"}
    lines = [line.split() for line in found.splitlines()]
    return [f"deb {uri} {suite} {part}" for uri, suite, part in lines if suite in ours]
