"""User data that a system would drop is refused, with what to send instead."""

import pytest

from provisioner.domain.user_data import LIMIT, fault


@pytest.mark.parametrize("text", ["", " \n", "#!/bin/sh\ntrue\n", "#!/usr/bin/env python3"])
def test_every_image_takes_a_script_or_nothing(text: str) -> None:
    assert fault(text, "debian-12", cloud_init=False) == ""
    assert fault(text, "ubuntu-24", cloud_init=True) == ""


@pytest.mark.parametrize(
    "text",
    [
        "#cloud-config\npackages: [git]\n",
        "#cloud-config-archive\n",
        "#cloud-boothook\n",
        "#include\nhttps://example.com\n",
        "## template: jinja\n#cloud-config\n",
        "Content-Type: multipart/mixed; boundary=x\n",
        "MIME-Version: 1.0\n",
    ],
)
def test_formats_of_cloud_init_need_an_image_that_has_it(text: str) -> None:
    assert fault(text, "ubuntu-24", cloud_init=True) == ""
    assert "debian-12 has no cloud-init" in fault(text, "debian-12", cloud_init=False)


@pytest.mark.parametrize("text", ["apt install git", "\n#!/bin/sh", "\ufeff#!/bin/sh", "{}"])
def test_anything_else_would_be_ignored(text: str) -> None:
    assert "must be a script that begins with #!" in fault(text, "d", cloud_init=False)
    assert "#cloud-config" in fault(text, "d", cloud_init=True)


def test_it_has_a_largest_size_in_bytes() -> None:
    script = "#!" + "é" * (LIMIT // 2 - 1)
    assert fault(script, "d", cloud_init=False) == ""
    assert f"at most {LIMIT} bytes; this has {LIMIT + 1}" in fault(
        script + "x", "d", cloud_init=False
    )
