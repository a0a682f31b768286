"""The iPXE scripts that a server is answered with. Pure: values in, text out.

Which server gets which script is decided by who serves them. No script ever falls through to the
next boot device by a failure: only `disk_script` leaves iPXE. https://ipxe.org/scripting
"""

import re

_RETRY_S = 5
_SILENCE_S = 1
_BASE_URL = re.compile(
    r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?(?:/[\w.-]+)*"
)
_TOKEN = re.compile(r"[A-Za-z0-9_-]{8,256}")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")

# Self-tests of ciphers that the ramdisk does not use would cost a third of a second.
_KERNEL_ARGUMENTS = "console=ttyS0 quiet net.ifnames=0 cryptomgr.notests"


def script_url(base_url: str) -> str:
    """Where iPXE asks what to do; iPXE itself fills in `${…}`. A serial may hold spaces."""
    return f"{_checked(_BASE_URL, base_url)}/boot/ipxe?mac=${{mac}}&serial=${{serial:uristring}}"


def first_script(base_url: str) -> str:
    """Ask what to do until there is an answer.

    Served by TFTP, which outlives a provisioner that is started again: iPXE itself would give up
    at the first silence and boot the disk, be it a past tenant's.
    """
    return f"""#!ipxe
:ask
chain --replace --autofree {script_url(base_url)} ||
sleep {_SILENCE_S}
goto ask
"""


def ramdisk_script(base_url: str, token: str, mac: str) -> str:
    """Boot the deploy ramdisk with a boot token, over the NIC `mac` (`52:54:00:…`).

    What fails is tried again by asking anew, so that a boot window which has closed meanwhile
    is not used. Raises ValueError when a value could mean something to iPXE or the kernel.
    """
    mac = mac.lower()
    files = f"{_checked(_BASE_URL, base_url)}/boot/files"
    arguments = (
        f"initrd=ramdisk.img {_KERNEL_ARGUMENTS} ironlease.url={base_url} "
        f"ironlease.token={_checked(_TOKEN, token)} "
        f"BOOTIF=01-{_checked(_MAC, mac).replace(':', '-')}"
    )
    return f"""#!ipxe
kernel {files}/vmlinuz {arguments} || goto failed
initrd --name ramdisk.img {files}/ramdisk.img || goto failed
boot || goto failed
:failed
imgfree
{_ask_again(base_url)}"""


def disk_script() -> str:
    """Leave iPXE; the firmware goes on with the next boot device, the disk."""
    return "#!ipxe\nexit\n"


def hold_script(base_url: str) -> str:
    """Wait, then ask again, for as long as it takes; the disk is never booted."""
    return f"#!ipxe\n{_ask_again(base_url)}"


def _ask_again(base_url: str) -> str:
    return f""":again
sleep {_RETRY_S}
chain --replace --autofree {script_url(base_url)} || goto again
"""


def _checked(pattern: re.Pattern[str], value: str) -> str:
    if not pattern.fullmatch(value):
        raise ValueError(f"not fit for an iPXE script: {value!r}")
    return value
