"""/metrics about health, and /metrics/gpus: for whom, what they say, Prometheus' format."""

import pytest
from health_rows import gpu, health, heard, judged, lost
from prometheus_client.parser import text_string_to_metric_families
from promtool import complaints

from provisioner.domain.lifecycle import State
from provisioner.service.metrics import gpus as gpu_metrics


async def text(client, path):
    answer = await client.get(path)
    assert answer.status == 200
    return await answer.text()


def samples(exposed, name):
    return {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(exposed)
        for sample in family.samples
        if sample.name == name
    }


async def test_levels_are_counted_and_servers_that_are_not_ok_are_named(anybody, make, clock):
    first, second = await make.stock(2)
    await make.server(3, State.QUARANTINED)
    await judged(make, first, lost(clock()))
    await judged(make, second)
    exposed = await text(anybody, "/metrics")
    assert samples(exposed, "ironlease_servers_health") == {
        ("lab-2nvme", "faulty"): 1,
        ("lab-2nvme", "ok"): 1,
        ("lab-2nvme", "unknown"): 1,
    }
    assert samples(exposed, "ironlease_server_health") == {("faulty", "r1-u01"): 1}
    assert complaints(exposed) == []


async def test_the_newest_reports_are_exposed_as_the_dcgm_exporter_would(operator, make, clock):
    first, second, stale, gone = await make.stock(4)
    await heard(make, stale, health(gpu(0)))
    clock.turn(minutes=4)
    xid = {"id": "1", "pci": gpu(1)["pci"], "xid": 79, "at_s": 3.0}
    await heard(make, first, health(gpu(0), gpu(1, temperature_c=88), events=[xid]))
    await heard(make, second, health(gpu(0)))
    await heard(make, gone, health(gpu(0)), revoked_at=clock())
    exposed = await text(operator, "/metrics/gpus")
    assert complaints(exposed) == []
    temperature = next(x for x in exposed.splitlines() if x.startswith("DCGM_FI_DEV_GPU_TEMP{"))
    assert temperature == (
        'DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-00000000",pci_bus_id="00000000:00:00.0",'
        'device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="r1-u01",server="r1-u01",'
        'DCGM_FI_DRIVER_VERSION="570.124.06"} 40'
    )
    found = {
        (labels[-2], labels[0]): value
        for labels, value in samples(exposed, "DCGM_FI_DEV_XID_ERRORS").items()
    }
    assert found == {("r1-u01", "0"): 0, ("r1-u01", "1"): 79, ("r1-u02", "0"): 0}
    assert exposed.count("# TYPE DCGM_FI_DEV_GPU_TEMP") == 1


@pytest.mark.parametrize(
    ("query", "servers"),
    [
        ("rack=r1", {"r1-u01", "r1-u02"}),
        ("rack=r2", set()),
        ("class=lab-2nvme&site=lab", {"r1-u01", "r1-u02"}),
        ("server=r1-u02", {"r1-u02"}),
    ],
)
async def test_the_scraper_says_which_servers(operator, make, query, servers):
    for server in await make.stock(2):
        await heard(make, server, health(gpu(0)))
    exposed = await text(operator, f"/metrics/gpus?{query}")
    assert {labels[-2] for labels in samples(exposed, "DCGM_FI_DEV_GPU_TEMP")} == servers


async def test_too_many_servers_for_one_answer_are_refused(operator, make, monkeypatch):
    monkeypatch.setattr(gpu_metrics, "MOST", 1)
    await make.stock(2)
    answer = await operator.get("/metrics/gpus")
    assert answer.status == 422
    assert "?rack=" in (await answer.json())["next_action"]
    assert (await operator.get("/metrics/gpus?server=r1-u01")).status == 200
    assert (await operator.get("/metrics/gpus?sever=r1-u01")).status == 422


async def test_what_gpus_do_is_not_told_to_everybody(anybody, customer, make):
    assert (await anybody.get("/metrics/gpus")).status == 401
    assert (await customer.get("/metrics/gpus")).status == 403
