"""`python -m lab.nvml`: builds the fake NVML libraries and prints where they are."""

from lab.nvml import build

for old_driver in (False, True):
    print(build(old_driver=old_driver))
