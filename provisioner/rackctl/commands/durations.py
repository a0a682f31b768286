"""Options that are durations, such as `90m` or `30d`."""

import typer

from provisioner.rackctl.formats import parse_duration


def seconds(text: str) -> int:
    """Return a duration option in seconds. Raises a usage error if it is not a duration."""
    try:
        return int(parse_duration(text).total_seconds())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
