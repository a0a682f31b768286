"""The users of a BMC, by IPMI 2.0's own commands (sections 22.26 to 22.30).

Bytes to and from; the conversation itself is `ipmi.py`'s.
"""

from collections.abc import Awaitable, Callable

from provisioner.drivers.bmc.base import BmcCommandFailed, BmcUser

Ask = Callable[[tuple[int, ...]], Awaitable[bytes]]
"""(netfn, command, data…) → the answer's data."""

_APP = 0x06
_SET_ACCESS, _GET_ACCESS, _GET_NAME, _SET_PASSWORD = 0x43, 0x44, 0x46, 0x47
_THIS_CHANNEL = 0x0E
_CHANGE_ACCESS = 0x80
_NO_ACCESS = 0x0F
_PRIVILEGES = {1: "callback", 2: "user", 3: "operator", 4: "administrator", 5: "oem"}
_DISABLED = 0b10
_DISABLE, _SET = 0x00, 0x02
_FIRST_USER = 1
_PASSWORD_BYTES = 16
"""IPMI 2.0 has 20, too, and some BMCs silently cut those to 16 (ipmi_sim among them)."""


async def read_users(ask: Ask) -> list[BmcUser]:
    """Every user that can log in: enabled (or not known to be disabled), with a privilege."""
    users = []
    user_id, highest = _FIRST_USER, _FIRST_USER
    while user_id <= highest:
        access = await ask((_APP, _GET_ACCESS, _THIS_CHANNEL, user_id))
        highest = access[0] & 0x3F
        disabled = access[1] >> 6 == _DISABLED
        privilege = _PRIVILEGES.get(access[3] & 0x0F)
        if privilege is not None and not disabled:
            users.append(BmcUser(user_id, await _name(ask, user_id), privilege))
        user_id += 1
    return users


async def _name(ask: Ask, user_id: int) -> str:
    try:
        name = await ask((_APP, _GET_NAME, user_id))
    except BmcCommandFailed:
        if user_id != _FIRST_USER:
            raise
        # The first user is the anonymous one, whose name some BMCs refuse to tell.
        return ""
    return name.split(b"\0")[0].decode("latin-1")


async def disable_user(ask: Ask, user_id: int) -> None:
    """No login, no privilege, no messaging on this channel."""
    await ask((_APP, _SET_PASSWORD, user_id, _DISABLE))
    await ask((_APP, _SET_ACCESS, _CHANGE_ACCESS | _THIS_CHANNEL, user_id, _NO_ACCESS))


async def set_password(ask: Ask, user_id: int, password: str) -> None:
    """`password` is of 16 bytes at most."""
    padded = password.encode("ascii").ljust(_PASSWORD_BYTES, b"\0")
    if len(padded) > _PASSWORD_BYTES:
        raise ValueError(f"IPMI BMCs know passwords of {_PASSWORD_BYTES} bytes at most")
    await ask((_APP, _SET_PASSWORD, user_id, _SET, *padded))
