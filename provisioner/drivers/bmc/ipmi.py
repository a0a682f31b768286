"""IPMI 2.0 (RMCP+, lanplus) behind the :class:`Bmc` interface: what a BMC is asked for each verb.

When a BMC is asked is left to `ipmi_conversations.py`; sensors, inventory and event log are decoded
in `ipmi_readings.py`, users in `ipmi_users.py`.
"""

from collections.abc import Sequence
from functools import partial

from provisioner.drivers.bmc.base import (
    Bmc,
    BmcTarget,
    BmcUser,
    BootDevice,
    LogEntry,
    LogPart,
    LogPosition,
    Power,
    PowerAction,
    Sensor,
)
from provisioner.drivers.bmc.ipmi_conversations import Conversations
from provisioner.drivers.bmc.ipmi_event_log import read_event_log, read_new_log_entries
from provisioner.drivers.bmc.ipmi_readings import read_inventory, read_sensors
from provisioner.drivers.bmc.ipmi_session import IpmiSession
from provisioner.drivers.bmc.ipmi_users import disable_user, read_users, set_password

# IPMI 2.0 sections 28.2, 28.3, 28.12 and table 28-14 (boot flags, parameter 5)
_CHASSIS, _GET_STATUS, _CONTROL, _SET_BOOT_OPTIONS = 0x00, 0x01, 0x02, 0x08
_CONTROL_CODE = {
    PowerAction.OFF: 0,
    PowerAction.ON: 1,
    PowerAction.CYCLE: 2,
    PowerAction.RESET: 3,
    PowerAction.SHUTDOWN: 5,
}
_BOOT_SELECTOR = {BootDevice.NETWORK: 0x04, BootDevice.DISK: 0x08}
_FLAGS_VALID, _FLAGS_PERSISTENT = 0x80, 0x40
_KEEP_FLAGS = (3, 0x08)
"""Boot info parameter 3: do not clear the boot flags when no restart follows within 60 s."""


class IpmiBmc(Bmc):
    """All IPMI BMCs of the process."""

    def __init__(self, conversations: Conversations | None = None) -> None:
        self._conversations = conversations or Conversations()

    async def power(self, target: BmcTarget) -> Power:
        async def read(session: IpmiSession) -> Power:
            status = await self._conversations.ask(
                target, session, "get chassis status", (_CHASSIS, _GET_STATUS)
            )
            return Power.ON if status[0] & 1 else Power.OFF

        return await self._conversations.hold(target, read, repeat=True)

    async def set_power(self, target: BmcTarget, action: PowerAction) -> None:
        """Nothing is sent when the server is on or off as wanted.

        Reset, cycle and shutdown are sent exactly once, never retransmitted: when the answer is
        lost, BmcUnreachable is raised and only observation tells whether they were carried out.
        """
        # Read first in any case: it also shows that the session is alive.
        if (await self.power(target)).value == action.value:
            return

        async def control(session: IpmiSession) -> None:
            await self._conversations.ask(
                target,
                session,
                f"power {action}",
                (_CHASSIS, _CONTROL, _CONTROL_CODE[action]),
                retransmit=action in (PowerAction.ON, PowerAction.OFF),
            )

        await self._conversations.hold(target, control)

    async def set_boot_device(
        self, target: BmcTarget, device: BootDevice, *, once: bool = True
    ) -> None:
        flags = _FLAGS_VALID if once else _FLAGS_VALID | _FLAGS_PERSISTENT

        async def set_options(session: IpmiSession) -> None:
            for parameter in (_KEEP_FLAGS, (5, flags, _BOOT_SELECTOR[device], 0, 0, 0)):
                await self._conversations.ask(
                    target,
                    session,
                    f"set boot device {device}",
                    (_CHASSIS, _SET_BOOT_OPTIONS, *parameter),
                )

        await self._conversations.hold(target, set_options)

    async def sensors(self, target: BmcTarget) -> Sequence[Sensor]:
        return await self._conversations.read(target, "read sensors", read_sensors)

    async def inventory(self, target: BmcTarget) -> dict[str, dict[str, str]]:
        return await self._conversations.read(target, "read inventory", read_inventory)

    async def event_log(self, target: BmcTarget) -> Sequence[LogEntry]:
        return await self._conversations.read(target, "read event log", read_event_log)

    async def new_log_entries(self, target: BmcTarget, after: LogPosition | None) -> LogPart:
        read = partial(read_new_log_entries, after=after)
        return await self._conversations.read(target, "read event log", read)

    async def users(self, target: BmcTarget) -> Sequence[BmcUser]:
        async def read(session: IpmiSession) -> Sequence[BmcUser]:
            return await read_users(partial(self._conversations.ask, target, session, "read users"))

        return await self._conversations.hold(target, read, repeat=True)

    async def disable_user(self, target: BmcTarget, user_id: int) -> None:
        async def disable(session: IpmiSession) -> None:
            ask = partial(self._conversations.ask, target, session, f"disable user {user_id}")
            await disable_user(ask, user_id)

        await self._conversations.hold(target, disable)

    async def set_user_password(self, target: BmcTarget, user_id: int, password: str) -> None:
        async def change(session: IpmiSession) -> None:
            name = f"set the password of user {user_id}"
            ask = partial(self._conversations.ask, target, session, name)
            await set_password(ask, user_id, password)

        await self._conversations.hold(target, change)

    async def close(self) -> None:
        """Log out everywhere; the object may not be used afterwards."""
        self._conversations.close()
