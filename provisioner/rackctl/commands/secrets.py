"""Secrets for commands: from standard input or a hidden prompt, never from an option."""

import sys

import typer

from provisioner.rackctl.errors import UsageFault


def read_secret(what: str, *, from_stdin: bool) -> str:
    """The first line of standard input, or the input at a hidden prompt.

    Raises UsageFault when it is empty.
    """
    if not from_stdin and not sys.stdin.isatty():
        raise UsageFault(f"no terminal to ask for the {what}", next_action="pass it on stdin")
    secret = (
        sys.stdin.readline().rstrip("\r\n")
        if from_stdin
        else str(typer.prompt(what, hide_input=True, err=True))
    )
    if not secret:
        raise UsageFault(f"the {what} is empty")
    return secret
