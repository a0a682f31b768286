"""The IPMI driver against real `ipmi_sim` BMCs on loopback."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest
from ipmi_simulator import SimulatedBmc

from provisioner.drivers.bmc.base import (
    BmcLoginRefused,
    BmcTarget,
    BmcUnreachable,
    BootDevice,
    Power,
    PowerAction,
)
from provisioner.drivers.bmc.ipmi import IpmiBmc
from provisioner.drivers.bmc.ipmi_conversations import Conversations
from provisioner.drivers.bmc.ipmi_thread import ipmi_thread

StartBmc = Callable[[], Awaitable[SimulatedBmc]]


@pytest.fixture
def silent() -> Iterator[BmcTarget]:
    """A port that receives packets and never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield BmcTarget("ipmi", "127.0.0.1", sock.getsockname()[1], "admin", "secret")


@pytest.fixture
async def impatient() -> AsyncIterator[IpmiBmc]:
    """A driver with short limits, and a breaker that never trips."""
    driver = IpmiBmc(Conversations(limit_s=0.5, breaker_threshold=1000))
    yield driver
    await driver.close()


class Traffic:
    """Counts what is passed to the IPMI thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.logins = 0
        self.under_way = 0
        self.most_at_once = 0
        self.started = asyncio.Event()
        loop = asyncio.get_running_loop()
        thread = ipmi_thread()
        command, login = thread.command, thread.login

        def count_command(*args: Any, **options: Any) -> Future[Any]:
            self.under_way += 1
            self.most_at_once = max(self.most_at_once, self.under_way)
            loop.call_soon_threadsafe(self.started.set)
            future = command(*args, **options)
            future.add_done_callback(self._ended)
            return future

        def count_login(*args: Any) -> Future[Any]:
            self.logins += 1
            return login(*args)

        monkeypatch.setattr(thread, "command", count_command)
        monkeypatch.setattr(thread, "login", count_login)

    def _ended(self, _future: Future[Any]) -> None:
        self.under_way -= 1


async def test_power_verbs_are_read_back_from_the_bmc(ipmi: IpmiBmc, bmc: SimulatedBmc) -> None:
    assert await ipmi.power(bmc.target) is Power.OFF
    await ipmi.set_power(bmc.target, PowerAction.ON)
    assert bmc.powered
    assert await ipmi.power(bmc.target) is Power.ON
    await ipmi.set_power(bmc.target, PowerAction.OFF)
    assert not bmc.powered
    assert await ipmi.power(bmc.target) is Power.OFF


async def test_switching_on_what_is_on_sends_nothing(ipmi: IpmiBmc, bmc: SimulatedBmc) -> None:
    for _ in range(3):
        await ipmi.set_power(bmc.target, PowerAction.ON)
    assert bmc.settings == ["power 1"]


async def test_reset_reaches_the_chassis_exactly_once(ipmi: IpmiBmc, bmc: SimulatedBmc) -> None:
    await ipmi.set_power(bmc.target, PowerAction.ON)
    await ipmi.set_power(bmc.target, PowerAction.RESET)
    assert bmc.settings == ["power 1", "reset 1"]


async def test_the_power_button_is_pressed_once(ipmi: IpmiBmc, bmc: SimulatedBmc) -> None:
    await ipmi.set_power(bmc.target, PowerAction.ON)
    await ipmi.set_power(bmc.target, PowerAction.SHUTDOWN)
    assert bmc.settings == ["power 1", "shutdown 1"]


async def test_cycle_switches_the_power_off_first(ipmi: IpmiBmc, bmc: SimulatedBmc) -> None:
    await ipmi.set_power(bmc.target, PowerAction.ON)
    await ipmi.set_power(bmc.target, PowerAction.CYCLE)
    assert bmc.settings[:2] == ["power 1", "power 0"]


async def test_network_is_set_as_boot_device(ipmi: IpmiBmc, bmc: SimulatedBmc) -> None:
    await ipmi.set_boot_device(bmc.target, BootDevice.NETWORK)
    assert bmc.boot_device == "pxe"
    await ipmi.set_boot_device(bmc.target, BootDevice.DISK, once=False)
    assert bmc.boot_device == "default", "ipmi_sim passes the disk on as its default"


async def test_sensors_have_values_units_and_health(ipmi: IpmiBmc, bmc: SimulatedBmc) -> None:
    sensors = {sensor.name: sensor for sensor in await ipmi.sensors(bmc.target)}
    cpu = sensors["CPU Temp"]
    assert (cpu.kind, cpu.value, cpu.unit, cpu.health) == ("Temperature", 46.0, "°C", "ok")
    assert sensors["Fan 1"].value == 8400.0


async def test_inventory_holds_the_serial_number(ipmi: IpmiBmc, bmc: SimulatedBmc) -> None:
    inventory = await ipmi.inventory(bmc.target)
    assert inventory["System"]["Serial Number"] == "ILSRV01"


async def test_event_log_entries_have_utc_times(ipmi: IpmiBmc, bmc: SimulatedBmc) -> None:
    (entry,) = await ipmi.event_log(bmc.target)
    assert entry.text == "Power on (deasserted)"
    assert entry.at is not None
    assert entry.at.utcoffset() is not None


@pytest.mark.parametrize("wrong", [{"password": "not-the-secret"}, {"username": "nobody"}])
async def test_wrong_login_is_reported_as_a_login_failure(
    ipmi: IpmiBmc, bmc: SimulatedBmc, wrong: dict[str, str]
) -> None:
    with pytest.raises(BmcLoginRefused) as refused:
        await ipmi.power(replace(bmc.target, **wrong))
    assert "not-the-secret" not in refused.value.reason
    assert await ipmi.power(bmc.target) is Power.OFF, "the right login works afterwards"


async def test_changed_password_is_used_at_once(ipmi: IpmiBmc, bmc: SimulatedBmc) -> None:
    await ipmi.power(bmc.target)
    with pytest.raises(BmcLoginRefused):
        await ipmi.power(replace(bmc.target, password="changed"))  # not in the open session


async def test_silent_bmc_does_not_delay_a_healthy_one(
    ipmi: IpmiBmc, bmc: SimulatedBmc, silent: BmcTarget
) -> None:
    waiting = asyncio.create_task(ipmi.power(silent))
    for _ in range(50):
        await ipmi.power(bmc.target)
    assert not waiting.done()
    with pytest.raises(BmcUnreachable):
        await waiting


async def test_bmc_that_hangs_after_the_login_does_not_delay_a_healthy_one(
    ipmi: IpmiBmc, start_bmc: StartBmc
) -> None:
    healthy, hung = await start_bmc(), await start_bmc()
    await ipmi.power(hung.target)
    hung.hang()
    waiting = asyncio.create_task(ipmi.set_power(hung.target, PowerAction.ON))
    for _ in range(50):
        await ipmi.power(healthy.target)
    assert not waiting.done()
    with pytest.raises(BmcUnreachable):
        await waiting
    hung.resume()
    await ipmi.set_power(hung.target, PowerAction.ON)
    assert await ipmi.power(hung.target) is Power.ON


async def test_bmc_that_hangs_within_the_login_does_not_delay_a_healthy_one(
    ipmi: IpmiBmc, bmc: SimulatedBmc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its relay lets the login pass up to the privilege request, and then goes silent."""
    loop = asyncio.get_running_loop()

    class Relay(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.client: Any = None
            self.packets = 0

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, address: Any) -> None:
            if address[1] == bmc.port:
                self.transport.sendto(data, self.client)  # type: ignore[attr-defined]
                return
            self.client = address
            if data[5] == 0xC0:  # encrypted IPMI payload: the first one requests a privilege level
                self.packets += 1
                return
            self.transport.sendto(data, ("127.0.0.1", bmc.port))  # type: ignore[attr-defined]

    transport, relay = await loop.create_datagram_endpoint(Relay, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    waiting = asyncio.create_task(ipmi.power(replace(bmc.target, port=port)))
    while not relay.packets:
        await ipmi.power(bmc.target)
    for _ in range(50):
        await ipmi.power(bmc.target)
    assert not waiting.done()
    with pytest.raises(BmcUnreachable):
        await waiting
    transport.close()


async def test_session_is_reused(
    ipmi: IpmiBmc, bmc: SimulatedBmc, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic = Traffic(monkeypatch)
    for _ in range(5):
        await ipmi.power(bmc.target)
    assert traffic.logins == 1


async def test_login_works_again_after_a_logout(bmc: SimulatedBmc) -> None:
    for _ in range(5):
        driver = IpmiBmc()
        assert await driver.power(bmc.target) is Power.OFF
        await driver.close()


async def test_session_the_bmc_has_forgotten_is_made_again(
    ipmi: IpmiBmc, bmc: SimulatedBmc
) -> None:
    await ipmi.power(bmc.target)
    await bmc.stop()
    await bmc.start()
    assert await ipmi.power(bmc.target) is Power.OFF


async def test_simultaneous_calls_on_one_bmc_are_serial_and_right(
    ipmi: IpmiBmc, bmc: SimulatedBmc, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic = Traffic(monkeypatch)
    await ipmi.set_power(bmc.target, PowerAction.ON)

    async def call(number: int) -> object:
        if number % 4 == 0:
            return await ipmi.inventory(bmc.target)
        if number % 4 == 1:
            return await ipmi.set_boot_device(bmc.target, BootDevice.NETWORK)
        return await ipmi.power(bmc.target)

    answers = await asyncio.gather(*(call(number) for number in range(20)))
    assert traffic.most_at_once == 1
    assert traffic.logins == 1
    assert all(answer is Power.ON for answer in answers[2::4] + answers[3::4])
    assert all(answer["System"]["Serial Number"] == "ILSRV01" for answer in answers[0::4])  # type: ignore[index]


@pytest.mark.parametrize("verb", ["power", "inventory"])
async def test_cancelled_call_does_not_disturb_the_next(
    ipmi: IpmiBmc, bmc: SimulatedBmc, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    await ipmi.power(bmc.target)
    traffic = Traffic(monkeypatch)
    bmc.hang()
    cancelled = asyncio.create_task(getattr(ipmi, verb)(bmc.target))
    await traffic.started.wait()
    cancelled.cancel()
    bmc.resume()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await ipmi.power(bmc.target) is Power.OFF


async def test_bmc_that_stays_silent_is_answered_for_without_asking(
    bmc: SimulatedBmc, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    driver = IpmiBmc(
        Conversations(limit_s=0.5, breaker_threshold=2, cooldown_s=30, clock=lambda: now)
    )
    traffic = Traffic(monkeypatch)
    bmc.hang()
    for _ in range(2):
        with pytest.raises(BmcUnreachable):
            await driver.power(bmc.target)
    asked = traffic.logins
    with pytest.raises(BmcUnreachable, match="asked again in 30 s"):
        await driver.power(bmc.target)
    assert traffic.logins == asked
    bmc.resume()
    now += 30
    assert await driver.power(bmc.target) is Power.OFF
    await driver.close()


@pytest.mark.parametrize("known_as_silent", [False, True])
async def test_silent_bmcs_give_up_their_slot(
    bmc: SimulatedBmc, silent: BmcTarget, known_as_silent: bool
) -> None:
    driver = IpmiBmc(Conversations(limit_s=2, concurrent=1, breaker_threshold=1000))
    if known_as_silent:
        with pytest.raises(BmcUnreachable):
            await driver.power(silent)
    waiting = asyncio.create_task(driver.power(silent))
    await driver.power(bmc.target)
    assert not waiting.done()
    with pytest.raises(BmcUnreachable):
        await waiting
    await driver.close()


async def test_name_that_does_not_resolve_is_unreachable(impatient: IpmiBmc) -> None:
    target = BmcTarget("ipmi", "no-such-bmc.invalid", 623, "admin", "secret")
    with pytest.raises(BmcUnreachable, match="cannot be resolved"):
        await impatient.power(target)


async def test_garbage_from_one_bmc_does_not_stop_the_others(
    impatient: IpmiBmc, bmc: SimulatedBmc
) -> None:
    class Garbage(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, address: Any) -> None:
            for answer in (
                b"\x06\x00\xff\x07",
                b"\x06\x00\xff\x07\x06\xc0",
                data[:9],
                b"\xff" * 99,
            ):
                self.transport.sendto(answer, address)  # type: ignore[attr-defined]

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        Garbage, local_addr=("127.0.0.1", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    with pytest.raises(BmcUnreachable):
        await impatient.power(replace(bmc.target, port=port))
    assert await impatient.power(bmc.target) is Power.OFF
    transport.close()


async def test_users_who_can_log_in_are_listed_with_their_privilege(
    ipmi: IpmiBmc, bmc: SimulatedBmc
) -> None:
    users = {user.name: user.privilege for user in await ipmi.users(bmc.target)}
    assert users["admin"] == "administrator"


async def test_a_disabled_user_can_no_longer_log_in(ipmi: IpmiBmc, bmc: SimulatedBmc) -> None:
    planted = replace(bmc.target, username="planted", password="hidden")
    await ipmi.power(planted)
    (user,) = [user for user in await ipmi.users(bmc.target) if user.name == "planted"]
    await ipmi.disable_user(bmc.target, user.id)
    assert "planted" not in {user.name for user in await ipmi.users(bmc.target)}
    fresh = IpmiBmc()
    with pytest.raises(BmcLoginRefused):
        await fresh.power(planted)
    await fresh.close()
    assert await ipmi.power(bmc.target) is Power.OFF


async def test_a_new_password_works_and_the_old_one_no_longer(
    ipmi: IpmiBmc, bmc: SimulatedBmc
) -> None:
    new = replace(bmc.target, password="Sixteen-chars-16")
    (user,) = [user for user in await ipmi.users(bmc.target) if user.name == "admin"]
    await ipmi.set_user_password(bmc.target, user.id, new.password)
    assert await ipmi.power(new) is Power.OFF
    with pytest.raises(BmcLoginRefused):
        await ipmi.power(bmc.target)


async def test_where_a_password_is_under_way_either_logs_in(
    ipmi: IpmiBmc, bmc: SimulatedBmc
) -> None:
    under_way = replace(bmc.target, next_password="Sixteen-chars-16")
    (user,) = [user for user in await ipmi.users(under_way) if user.name == "admin"]
    await ipmi.set_user_password(under_way, user.id, under_way.next_password)
    fresh = IpmiBmc()
    assert await fresh.power(under_way) is Power.OFF
    await fresh.close()


async def test_a_password_longer_than_ipmi_allows_is_never_sent(
    ipmi: IpmiBmc, bmc: SimulatedBmc
) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        await ipmi.set_user_password(bmc.target, 2, "x" * 17)
    assert await ipmi.power(bmc.target) is Power.OFF
