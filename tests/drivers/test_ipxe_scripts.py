"""What iPXE is sent, and that nothing hostile gets into it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.drivers.netboot.ipxe import (
    disk_script,
    first_script,
    hold_script,
    ramdisk_script,
    script_url,
)

URL = "http://10.77.0.1:8080"
TOKEN = "t0ken_abc-XYZ123"
MAC = "52:54:00:77:00:01"


def test_ramdisk_script_boots_the_ramdisk_with_its_token() -> None:
    lines = ramdisk_script(URL, TOKEN, MAC).splitlines()
    assert lines[0] == "#!ipxe"
    assert lines[1] == (
        f"kernel {URL}/boot/files/vmlinuz initrd=ramdisk.img console=ttyS0 quiet net.ifnames=0 "
        "cryptomgr.notests "
        f"ironlease.url={URL} ironlease.token={TOKEN} BOOTIF=01-52-54-00-77-00-01 || goto failed"
    )
    assert lines[2].startswith(f"initrd --name ramdisk.img {URL}/boot/files/ramdisk.img")


def test_script_that_fails_asks_again_and_never_reaches_the_disk() -> None:
    for script in (ramdisk_script(URL, TOKEN, MAC), hold_script(URL)):
        assert script.endswith(f"chain --replace --autofree {script_url(URL)} || goto again\n")
        assert "exit" not in script


def test_first_script_asks_until_there_is_an_answer() -> None:
    lines = first_script(URL).splitlines()
    assert lines[:3] == ["#!ipxe", ":ask", f"chain --replace --autofree {script_url(URL)} ||"]
    assert lines[-1] == "goto ask"


def test_disk_script_leaves_ipxe() -> None:
    assert disk_script() == "#!ipxe\nexit\n"


@pytest.mark.parametrize("mac", ["", "52:54:00:77:00", "52-54-00-77-00-01", f"{MAC}\nexit"])
def test_bad_mac_is_refused(mac: str) -> None:
    with pytest.raises(ValueError, match="iPXE"):
        ramdisk_script(URL, TOKEN, mac)


@pytest.mark.parametrize(
    "url", ["http://a b", "ftp://a", f"{URL}/${{x}}", f"{URL}\nshell", f"{URL}?a", "http://"]
)
def test_bad_url_is_refused(url: str) -> None:
    for render in (lambda: ramdisk_script(url, TOKEN, MAC), lambda: hold_script(url)):
        with pytest.raises(ValueError, match="iPXE"):
            render()


@given(st.text(max_size=40))
def test_no_token_brings_in_a_word_or_a_line_of_its_own(token: str) -> None:
    plain = ramdisk_script(URL, TOKEN, MAC)
    try:
        script = ramdisk_script(URL, token, MAC)
    except ValueError:
        return
    assert script.replace(token, TOKEN) == plain
    assert len(script.split()) == len(plain.split())
