"""How a module talks to its run: progress lines, and failures that say whose they are."""

_say = None


def connect(say):
    """Set by `entry.py`: where messages go. Unconnected (in tests), progress is dropped."""
    global _say
    _say = say


def progress(text):
    """A line for the step's log, shown at once."""
    if _say is not None:
        _say({"progress": text})


class Failure(Exception):
    """A classified failure; `result` is evidence that is worth keeping all the same."""

    kind = "server_fault"

    def __init__(self, reason, next_action, result=None):
        super().__init__(reason)
        self.reason = reason
        self.next_action = next_action
        self.result = result or {}

    def as_dict(self):
        return {"kind": self.kind, "reason": self.reason, "next_action": self.next_action}


class ServerFault(Failure):
    """The server's own: it is quarantined with the evidence."""


class Configuration(Failure):
    """What we were told is wrong: an operator has to change it."""

    kind = "configuration"


class Transient(Failure):
    """Expected to pass: tried again."""

    kind = "transient"
