"""Entry point: runs the command line and turns its errors into a message and an exit code."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from provisioner.rackctl.app import app
from provisioner.rackctl.errors import RackctlError
from provisioner.rackctl.output import Screen


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command. `arguments` default to the process's own."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        app(args=given, prog_name="rackctl")
    except RackctlError as error:
        Screen(colour="--no-color" not in given).error(error)
        sys.exit(error.exit_code)
    sys.exit(0)


if __name__ == "__main__":
    main()
