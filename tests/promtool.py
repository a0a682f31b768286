"""Prometheus' own checker for texts in its format."""

import subprocess

# The DCGM exporter's own names are kept, although the linter objects.
_EXPORTERS = ("label names should be written in 'snake_case'", 'should have "_total" suffix')
_EXPORTERS_COUNTER = "DCGM_FI_DEV_PCIE_REPLAY_COUNTER metric name should not include type"


def complaints(text: str) -> list[str]:
    """Return what `promtool check metrics` finds, except for the exporter's names."""
    checked = subprocess.run(
        ["promtool", "check", "metrics"], check=False, input=text, capture_output=True, text=True
    )
    assert checked.returncode in (0, 3)  # 3: lint only
    return [
        line
        for line in checked.stderr.splitlines() + checked.stdout.splitlines()
        if not any(known in line for known in _EXPORTERS)
        and not line.startswith(_EXPORTERS_COUNTER)
    ]
