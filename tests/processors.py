"""How tests of the virtual rack that run in parallel share two processors.

They form two groups, each in order in a process of its own, with its machines on a processor of its
own.
"""

from pathlib import PurePath

from xdist.scheduler import LoadScopeScheduling

ON_THE_SECOND = ("test_images_ramdisk", "test_images_tenant", "test_playbooks")
"""See `images_machine.machine`; the first machine of every rack is on the first."""


class ByProcessor(LoadScopeScheduling):
    """Chosen by `--dist loadscope`. xdist's groups (loadgroup) do nothing under pytest 9.2."""

    def _split_scope(self, nodeid: str) -> str:
        module = PurePath(nodeid.partition("::")[0]).stem
        return "second" if module in ON_THE_SECOND else "first"
