"""The small charts of a lease's GPUs: where the line goes, where it is broken, what is said."""

from datetime import timedelta

from service_factories import START

from provisioner.domain.health.gauges import GAUGES
from provisioner.service.views.lease_health import GpuSeriesView, LeaseHealthView
from provisioner.service.web.charts import HEIGHT, SIGNALS, WIDTH, Chart, gpu_charts


def charts(*gpus: dict, minutes: list[int], until: int) -> list[dict[str, Chart]]:
    """The charts of each GPU by signal."""
    nothing = {name: [None] * len(minutes) for name in GAUGES}
    view = LeaseHealthView(
        level=None,
        summary="",
        seen_at=None,
        state="ok",
        at=[START + timedelta(minutes=m) for m in minutes],
        gpus=[
            GpuSeriesView(
                **{
                    "index": n,
                    "product": "",
                    "lost": False,
                    "memory_total_mib": None,
                    **nothing,
                    **series,
                }
            )
            for n, series in enumerate(gpus)
        ],
        incidents=[],
        outages=[],
        not_billed_s=0,
    )
    found = gpu_charts(view, START + timedelta(minutes=until))
    return [{chart.name: chart for chart in each.charts} for each in found]


def test_every_gauge_has_its_chart() -> None:
    assert [signal.name for signal in SIGNALS] == list(GAUGES)


def test_a_line_goes_from_the_first_sample_to_the_end_of_the_time() -> None:
    (gpu,) = charts({"utilization_percent": [0, 50, 100]}, minutes=[0, 5, 10], until=20)
    chart = gpu["utilization_percent"]
    assert chart.path == f"M0 {HEIGHT} {WIDTH // 4} {HEIGHT // 2} {WIDTH // 2} 0"
    assert (chart.last, chart.span) == ("100 %", "0 to 100 %")


def test_a_line_is_broken_where_nothing_was_measured() -> None:
    series = {"power_w": [100, None, 100, 100, 100]}
    (gpu,) = charts(series, minutes=[0, 5, 10, 15, 60], until=60)
    first, second, third = gpu["power_w"].path.split("M")[1:]
    assert first == "0 0h0"
    assert len(second.split()) == 4
    assert third.endswith("h0")


def test_all_gpus_have_one_scale() -> None:
    cool, hot = charts(
        {"temperature_c": [40, 40]}, {"temperature_c": [80, 80]}, minutes=[0, 5], until=5
    )
    assert cool["temperature_c"].path == f"M0 {HEIGHT} {WIDTH} {HEIGHT}"
    assert hot["temperature_c"].path == f"M0 0 {WIDTH} 0"


def test_memory_is_told_in_gib_of_what_there_is() -> None:
    series = {"memory_used_mib": [1024.0, 63_590.4], "memory_total_mib": 81_920.0}
    (gpu,) = charts(series, minutes=[0, 5], until=5)
    assert (gpu["memory_used_mib"].last, gpu["memory_used_mib"].span) == (
        "62.1 GiB",
        "1 to 62.1 of 80 GiB",
    )


def test_only_an_uncorrectable_error_alarms() -> None:
    series = {"ecc_corrected": [9, 9], "ecc_uncorrected": [0, 1]}
    (gpu,) = charts(series, minutes=[0, 5], until=5)
    assert [chart.name for chart in gpu.values() if chart.alarming] == ["ecc_uncorrected"]
    assert gpu["ecc_corrected"].last == "9"


def test_what_was_never_measured_is_no_line() -> None:
    (gpu,) = charts({}, minutes=[0], until=0)
    assert gpu["power_w"].path == gpu["power_w"].span == ""
    assert charts(minutes=[], until=0) == []
