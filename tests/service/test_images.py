"""Images: only files of the import folder that are raw disks, sent only to servers writing them."""

import gzip
import hashlib
import json
import os
import sqlite3

import pytest

from lab.simulated.disk_image import write_disk_image
from provisioner.domain.image_pass import ImagePass
from provisioner.domain.lifecycle import State, Step
from provisioner.store.columns import utc_now

BOOT = {"partition": 1, "kernel": "/boot/vmlinuz", "cmdline": "/boot/cmdline", "user": "root"}


def order(path, **changes):
    boot = {**BOOT, **changes.pop("boot", {})}
    return {"path": str(path), "name": "debian-12", "title": "Debian 12", "boot": boot, **changes}


@pytest.fixture
def folder(services):
    services.image_import_dir.mkdir()
    return services.image_import_dir


@pytest.fixture
async def imported(operator, folder):
    write_disk_image(folder / "disk.raw", b"a system")
    answer = await operator.post("/v1/images", json=order("disk.raw"))
    assert answer.status == 201
    return await answer.json()


@pytest.fixture
async def writing(make):
    """An operation that is writing an image."""
    await make.server_class()
    operation = await make.operation(await make.server(1, State.IMAGING))
    return await make.set(operation, step=Step.WRITE_IMAGE)


@pytest.fixture
def shown(services, writing):
    """Makes the header with the operation's pass for an image."""

    def header(digest):
        text = ImagePass(writing.id, digest).to_json()
        return {"Authorization": f"Bearer {services.secret_box.seal(text)}"}

    return header


async def test_an_image_is_imported_and_served_to_the_server_that_writes_it(
    imported, shown, anybody, operator, folder
):
    assert imported["size_bytes"] == 1 << 20
    base, digest = f"/images/{imported['digest']}", imported["digest"]
    ours = shown(digest)
    manifest = await (await anybody.get(f"{base}/manifest.json", headers=ours)).read()
    assert hashlib.sha256(manifest).hexdigest() == digest
    chunk = await (await anybody.get(f"{base}/chunks/0", headers=ours)).read()
    assert hashlib.sha256(chunk).hexdigest() == json.loads(manifest)["chunks"][0]["sha256"]
    for path in ("chunks/1", "chunks/x", "chunks/-1"):
        assert (await anybody.get(f"{base}/{path}", headers=ours)).status == 404

    write_disk_image(folder / "disk.raw", b"a newer system")
    newer = await (await operator.post("/v1/images", json=order("disk.raw"))).json()
    listed = (await (await operator.get("/v1/images")).json())["items"]
    assert [image["digest"] for image in listed] == [newer["digest"]] != [digest]


async def test_nobody_else_gets_an_image(imported, shown, writing, admin, make):
    digest, token = imported["digest"], admin.session.headers["Authorization"]
    paths = (f"/images/{digest}/manifest.json", f"/images/{digest}/chunks/0")

    async def statuses(headers):
        anybody = {"Authorization": "", **headers}
        answers = [await admin.get(path, headers=anybody) for path in paths]
        return [answer.status for answer in answers]

    ours = shown(digest)
    assert await statuses(ours) == [200, 200]
    assert await statuses({}) == [401, 401]
    _, agent = await make.agent(await make.server(2))
    sealed = make.services.secret_box.seal("{}")
    for other in (token, f"Bearer {agent}", f"Bearer {sealed}"):
        assert await statuses({"Authorization": other}) == [403, 403]
    assert await statuses(shown("0" * 64)) == [403, 403]
    await make.set(writing, step=Step.PERSONALISE)
    assert await statuses(ours) == [403, 403]
    await make.set(writing, step=Step.WRITE_IMAGE, ended_at=utc_now())
    assert await statuses(ours) == [403, 403]


async def refusal(operator, body):
    answer = await operator.post("/v1/images", json=body)
    problem = await answer.json()
    assert answer.status == 422, body
    return problem["code"]


async def test_no_file_outside_the_import_folder_is_read(operator, folder, services, tmp_path):
    write_disk_image(tmp_path / "outside.raw", b"a system")
    write_disk_image(folder / "inner/disk.raw", b"a system")
    (folder / "link.raw").symlink_to(tmp_path / "outside.raw")
    (folder / "inside.raw").symlink_to(folder / "inner/disk.raw")
    (folder / "linked").symlink_to(folder / "inner")
    os.mkfifo(folder / "pipe.raw")
    for path in (
        tmp_path / "outside.raw",
        "../outside.raw",
        "inner/../../outside.raw",
        folder / "../outside.raw",
        "link.raw",
        "inside.raw",
        "linked/disk.raw",
        "pipe.raw",
        "inner",
        ".",
        "/",
        "none.raw",
        "/proc/self/environ",
        "/etc/passwd",
        "a" * 199,
        "é" * 199,
        services.ramdisk_dir / "vmlinuz",
    ):
        assert await refusal(operator, order(path)) == "no_such_file", path
    for path in ("inner/disk.raw", folder / "inner/disk.raw"):
        assert (await operator.post("/v1/images", json=order(path))).status == 201


def database(path):
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE t (x)")
    return path.read_bytes()


FORMATS = {
    "qcow2": lambda _: b"QFI\xfb\0\0\0\3".ljust(65536, b"\0"),
    "gzip": lambda _: gzip.compress(os.urandom(65536), mtime=0),
    "xz": lambda _: b"\xfd7zXZ\0".ljust(65536, b"x"),
    "zstd": lambda _: b"\x28\xb5\x2f\xfd".ljust(65536, b"x"),
    "vmdk": lambda _: b"KDMV".ljust(65536, b"\0"),
    "database": lambda folder: database(folder / "some.db"),
    "text": lambda _: b"secret = 1\n" * 5120,
    "zeroes": lambda _: bytes(65536),
}


@pytest.mark.parametrize("kind", FORMATS)
async def test_what_is_no_raw_disk_is_refused(operator, folder, services, tmp_path, kind):
    content = FORMATS[kind](tmp_path)
    content += bytes(-len(content) % 512)
    (folder / "disk.raw").write_bytes(content)
    assert await refusal(operator, order("disk.raw")) == "not_an_image"
    assert services.images.list() == []


async def test_a_disk_without_the_partition_or_cut_off_is_refused(operator, folder):
    disk = write_disk_image(folder / "disk.raw", b"a system", partition=2)
    for partition in (1, 3, 4, 5, 128):
        body = order("disk.raw", boot={"partition": partition})
        assert await refusal(operator, body) == "not_an_image"
    disk.write_bytes(disk.read_bytes()[: 128 * 1024])
    assert await refusal(operator, order("disk.raw", boot={"partition": 2})) == "not_an_image"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user", "$(id)"),
        ("user", "root; reboot"),
        ("user", "Root"),
        ("user", "-u"),
        ("user", "a" * 33),
        ("user", "{{ lookup('pipe', 'id') }}"),
        ("user", "róot"),
        ("kernel", "boot/vmlinuz"),
        ("kernel", "/boot/../../etc/shadow"),
        ("kernel", "/boot/$(id)"),
        ("cmdline", "/etc/kernel/cmd line"),
        ("cmdline", "/{{ x }}"),
        ("initrd", "/boot/`id`"),
        ("initrd", "--version"),
    ],
)
async def test_what_is_told_of_an_image_to_a_playbook_is_plain(operator, folder, name, value):
    write_disk_image(folder / "disk.raw", b"a system")
    body = order("disk.raw", boot={name: value})
    assert await refusal(operator, body) == "invalid_request"


def test_the_daemons_own_files_are_not_in_the_import_folder(tmp_path):
    from pydantic import ValidationError

    from provisioner.settings import Settings

    data = tmp_path / "data"
    link = tmp_path / "link"
    link.symlink_to(data)
    for imports in (data, tmp_path, data / "images", link, link / "images"):
        with pytest.raises(ValidationError, match="image_import_dir"):
            Settings(data_dir=data, image_import_dir=imports)
    assert Settings(data_dir=data).image_import_dir == data / "import"
