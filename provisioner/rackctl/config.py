"""Where the provisioner is and who asks: options, environment, and the file that login writes."""

import os
from pathlib import Path

from provisioner.rackctl.errors import UsageFault

DEFAULT_URL = "http://127.0.0.1:8080"


def config_folder() -> Path:
    """`$XDG_CONFIG_HOME/ironlease`, by default `~/.config/ironlease`."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "ironlease"


def token_file() -> Path:
    return config_folder() / "token"


def checked_token(text: str) -> str:
    """A token without the white space around it; UsageFault when it cannot be one."""
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageFault(
            "that is no API token",
            next_action="take it as `rackctl account token` or the web pages print it",
        )
    return token


def saved_token() -> str:
    """The token that `rackctl login` saved, or "" when there is none.

    Raises UsageFault when others can read the file: it is as good as a password.
    """
    file = token_file()
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        return ""
    if mode & 0o077:
        raise UsageFault(
            f"{file} can be read by others",
            next_action=f"chmod 600 {file}; when others may have read it, make a new token",
        )
    return checked_token(file.read_text())


def token_for(given: str) -> str:
    """The token to ask with: the one given, or the one saved. UsageFault when there is none."""
    token = checked_token(given) if given else saved_token()
    if not token:
        raise UsageFault(
            "not logged in",
            next_action="run `rackctl login --token-stdin`, or set IRONLEASE_TOKEN",
        )
    return token


def save_token(token: str) -> Path:
    """Keep a token for the next commands, readable by its owner alone from the first byte on."""
    file = token_file()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(token + "\n")
    new.replace(file)
    return file
