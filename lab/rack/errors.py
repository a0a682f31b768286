"""What can go wrong with a virtual rack; each message says what to do next."""


class RackError(Exception):
    """The rack could not do what was asked; the message says why and what to do."""


class RackIsUp(RackError):
    """A rack of this name is already running."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"rack {name} is already up; `python -m lab down --name {name}` takes it down"
        )


class RackNotUp(RackError):
    """No rack of this name is running."""

    def __init__(self, name: str) -> None:
        super().__init__(f"rack {name} is not up; `python -m lab up --name {name}` brings it up")
