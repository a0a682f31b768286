"""Fixtures of the driver tests: real peers on loopback."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from ipmi_simulator import SimulatedBmc, StartBmc

from provisioner.drivers.bmc.ipmi import IpmiBmc


@pytest.fixture
async def start_bmc(tmp_path: Path) -> AsyncIterator[StartBmc]:
    started: list[SimulatedBmc] = []

    async def start() -> SimulatedBmc:
        bmc = SimulatedBmc(tmp_path / f"bmc{len(started)}")
        started.append(bmc)
        await bmc.start()
        return bmc

    yield start
    for bmc in started:
        await bmc.stop()


@pytest.fixture
async def bmc(start_bmc: StartBmc) -> SimulatedBmc:
    return await start_bmc()


@pytest.fixture
async def ipmi() -> AsyncIterator[IpmiBmc]:
    driver = IpmiBmc()
    yield driver
    await driver.close()
