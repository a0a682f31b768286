"""The agent's own /metrics: Prometheus' format, the DCGM exporter's names, this machine alone."""

import re
import subprocess
import threading
import urllib.error
import urllib.request

import pytest
from gpu_agent import Agent
from prometheus_client.parser import text_string_to_metric_families
from promtool import complaints

from agent import metrics
from agent.signals import GPU
from agent.signals.prometheus import METRICS, exposition
from lab.nvml import FakeNvml

PORT = 18121


def text(agent: Agent) -> str:
    return exposition((agent.watch.health(), {"Hostname": "r1-u01"}))


def samples(agent: Agent, name: str) -> dict[str, float]:
    """GPU → value."""
    return {
        sample.labels["gpu"]: sample.value
        for family in text_string_to_metric_families(text(agent))
        for sample in family.samples
        if sample.name in (name, f"{name}_total")
    }


def test_a_dashboard_made_for_the_dcgm_exporter_finds_its_series(agent: Agent) -> None:
    agent.fake.set(2, "temperature", 61)
    agent.fake.set(2, "power.usage", 655_500)
    agent.fake.set(2, "ecc.volatile.uncorrected.sram", 2)
    agent.fake.set(2, "field.163.4", 9)
    agent.look(60)
    agent.fake.xid(2, 48)
    agent.read()
    assert samples(agent, "DCGM_FI_DEV_GPU_TEMP") == {**dict.fromkeys("01234567", 34), "2": 61}
    assert samples(agent, "DCGM_FI_DEV_POWER_USAGE")["2"] == 655.5
    assert samples(agent, "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL")["2"] == 2
    assert samples(agent, "DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL")["2"] == 9
    assert samples(agent, "DCGM_FI_DEV_XID_ERRORS") == {**dict.fromkeys("01234567", 0), "2": 48}
    line = next(x for x in text(agent).splitlines() if x.startswith("DCGM_FI_DEV_FB_USED{"))
    assert line == (
        'DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-6b5d7e20-5c3e-4f6a-9b7d-0c1d2e3f4a00",'
        'pci_bus_id="00000000:1B:00.0",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",'
        'Hostname="r1-u01",DCGM_FI_DRIVER_VERSION="580.159.04"} 1'
    )


def test_a_lost_gpu_has_no_samples_but_its_error(agent: Agent) -> None:
    agent.read()
    agent.fake.lose(3)
    agent.look(10)
    assert "3" not in samples(agent, "DCGM_FI_DEV_GPU_TEMP")
    assert samples(agent, "DCGM_FI_DEV_XID_ERRORS")["3"] == 79


def test_what_a_part_does_not_have_is_no_series(gpus: FakeNvml) -> None:
    agent = Agent(FakeNvml(gpus.file, "l40s-4"), gpus_expected=4)
    agent.look(60)
    assert samples(agent, "DCGM_FI_DEV_FABRIC_MANAGER_STATUS") == {}
    assert samples(agent, "DCGM_FI_DEV_GPU_TEMP") == dict.fromkeys("0123", 31)


def test_metrics_are_of_signals_that_there_are() -> None:
    known = {signal.name for signal in GPU}
    assert {name for metric in METRICS for name in metric.signals} <= known
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_promtool_has_nothing_against_the_format(agent: Agent) -> None:
    agent.look(60)
    assert complaints(text(agent)) == []


def test_only_this_machine_is_answered(agent: Agent) -> None:
    agent.look(10)
    arguments = (agent.watch.health, lambda: "r1-u01", PORT)
    threading.Thread(target=metrics.serve, args=arguments, daemon=True).start()
    url = f"http://127.0.0.1:{PORT}"
    for _ in range(1000):
        try:
            answer = urllib.request.urlopen(f"{url}/metrics")
            break
        except urllib.error.URLError:
            continue
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b"DCGM_FI_DEV_GPU_TEMP" in answer.read()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{url}/")
    metrics.serve(agent.watch.health, lambda: "", PORT)  # occupied: gives up, and says so
    listening = subprocess.run(["ss", "-Hltn"], check=True, capture_output=True, text=True).stdout
    assert re.findall(rf"(\S+):{PORT}\b", listening) == ["127.0.0.1%lo"]
