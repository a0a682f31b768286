"""The provisioner's address and the token: options, environment, and the file login writes."""

import os
from pathlib import Path

from provisioner.rackctl.errors import UsageFault
from provisioner.rackctl.files import read_text

DEFAULT_URL = "http://127.0.0.1:8080"


def config_folder() -> Path:
    """`$XDG_CONFIG_HOME/ironlease`, by default `~/.config/ironlease`."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "ironlease"


def token_file() -> Path:
    return config_folder() / "token"


def checked_token(text: str) -> str:
    """A token without surrounding white space. Raises UsageFault when it cannot be one."""
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageFault(
            "that is not an API token",
            next_action="use the token exactly as it was printed",
        )
    return token


def saved_token() -> str:
    """The token that `rackctl login` saved, or "" when there is none.

    Raises UsageFault when others can read the file: it is equivalent to a password.
    """
    file = token_file()
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        return ""
    if mode & 0o077:
        raise UsageFault(
            f"{file} is readable by others",
            next_action=f"chmod 600 {file}; if others may have read it, create a new token",
        )
    return checked_token(read_text(file))


def token_for(given: str) -> str:
    """The token to use: the given one, or the saved one. Raises UsageFault without any."""
    token = checked_token(given) if given else saved_token()
    if not token:
        raise UsageFault(
            "not logged in",
            next_action="run `rackctl login --token-stdin`, or set IRONLEASE_TOKEN",
        )
    return token


def save_token(token: str) -> Path:
    """Save a token for the next commands, readable only by its owner from the first byte on."""
    file = token_file()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(token + "\n")
    new.replace(file)
    return file
