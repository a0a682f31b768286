"""Make the provisioner's user an administrator of the server's BMC, through its in-band interface.

For a BMC whose users a tenant has changed. The provisioner disables all others once it can log in
again. Commands and bytes: IPMI 2.0, sections 22.22 to 22.30.

Variables: `username`, `password` (at most 16 bytes). Result: `bmc_user`.
"""

from __future__ import annotations

import subprocess

from module_utils.channel import Configuration, Transient, progress

TYPE_CHECKING = False  # importing typing costs a slow server 30 ms
if TYPE_CHECKING:
    from typing import Any

APP = 0x06
SET_CHANNEL_ACCESS, CHANNEL_INFO = 0x40, 0x42
SET_ACCESS, GET_ACCESS, SET_NAME, GET_NAME, SET_PASSWORD = 0x43, 0x44, 0x45, 0x46, 0x47
CHANNELS = range(1, 12)
LAN_MEDIUM = 4
ADMINISTRATOR = 4
ALWAYS_AVAILABLE = 2
VOLATILE, NON_VOLATILE = 0x80, 0x40
MESSAGING = 0x90  # change the bits that follow; IPMI messaging
ENABLE, SET = 1, 2
FIRST_NAMED_USER = 2  # the first user is the anonymous one
LIMIT_S = 30


def ask(*request: int) -> bytes | None:
    """Return the response data, or None if the BMC refuses the command."""
    words = [f"{byte:#04x}" for byte in request]
    try:
        done = subprocess.run(
            ["ipmitool", "-I", "open", "raw", *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        raise Transient(
            "the BMC does not answer in band", "wait; if it persists, reset the BMC"
        ) from None
    if "Could not open device" in done.stderr:
        raise Configuration(
            "the ramdisk has no in-band interface to the BMC (/dev/ipmi0)",
            "enable it in the firmware, or set the password at the BMC itself and run "
            "rackctl server set-bmc",
        )
    return bytes.fromhex(done.stdout.replace(" ", "")) if done.returncode == 0 else None


def must(what: str, *request: int) -> bytes:
    answer = ask(*request)
    if answer is None:
        raise Configuration(
            f"the BMC refuses to {what} in band",
            "reset the BMC to its defaults, then: rackctl server set-bmc",
        )
    return answer


def lan_channel() -> int:
    for channel in CHANNELS:
        info = ask(APP, CHANNEL_INFO, channel)
        if info is not None and info[1] & 0x7F == LAN_MEDIUM:
            return channel
    raise Configuration(
        "the BMC has no LAN channel", "reset the BMC to its defaults, then: rackctl server set-bmc"
    )


def user_slot(channel: int, username: str) -> int:
    """Return the id of the user with this name, else the first without a name."""
    highest = must("list its users", APP, GET_ACCESS, channel, FIRST_NAMED_USER)[0] & 0x3F
    free = 0
    for user in range(FIRST_NAMED_USER, highest + 1):
        name = (ask(APP, GET_NAME, user) or b"").split(b"\0")[0].decode("latin-1")
        if name == username:
            return user
        if not name and not free:
            free = user
    return free or FIRST_NAMED_USER


def main(variables: dict[str, Any]) -> dict[str, Any]:
    name, password = variables["username"], variables["password"].encode()
    channel = lan_channel()
    user = user_slot(channel, name)
    progress(f"BMC user {user} on channel {channel} becomes {name!r}")
    # Some BMCs refuse to set a name that the user already has.
    ask(APP, SET_NAME, user, *name.encode().ljust(16, b"\0"))
    must("set a password", APP, SET_PASSWORD, user, SET, *password.ljust(16, b"\0"))
    must("set a privilege", APP, SET_ACCESS, MESSAGING | channel, user, ADMINISTRATOR, 0)
    must("enable a user", APP, SET_PASSWORD, user, ENABLE)
    for kept in (NON_VOLATILE, VOLATILE):
        # No authentication per message is off, alerts stay as they are; not every BMC can.
        access = (kept | ALWAYS_AVAILABLE, kept | ADMINISTRATOR)
        ask(APP, SET_CHANNEL_ACCESS, channel, *access)
    return {"bmc_user": user}
