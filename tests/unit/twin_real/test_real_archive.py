"""Archives of a twin's guests: what tar, zstd and the mounts make of disks, and back. Needs root."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hearth.errors import HearthError
from twin import packages
from twin.pve.archives import read, written
from twin.real.archive import Disks, nothing, pack, read_config, unpack
from twin.real.archives import lend
from twin.real.disks import SMALLEST, Disk, loops_work
from twin.real.errors import GuestError
from twin.real.spec import Spec, container, machine
from twin.state import Twin

pytestmark = pytest.mark.skipif(bool(os.geteuid()), reason="needs root")
T = TypeVar("T")
ROOT = 100000  # the inside's root, outside
CT = {
    "hostname": "comms",
    "unprivileged": 1,
    "rootfs": "local-lvm:vm-135-disk-0,size=1G",
    "mp0": "local-lvm:vm-135-disk-1,mp=/srv/kept,backup=1,size=1G",
    "mp1": "local-lvm:vm-135-disk-2,mp=/srv/left,size=1G",
}
VM = {"name": "database", "scsi0": "local-lvm:vm-136-disk-0,size=1G", "scsi1": "local-lvm:d1,size=1G"}


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    """What a twin is made of: on a machine that never had one, it is not there yet."""
    packages.install()


class Bench:
    """A guest of folders, its base, and what a second guest gets of its archive.

    Args:
        place: an empty folder that everybody may pass through.
        thread: where mounts are made.
    """

    def __init__(self, place: Path, thread: ThreadPoolExecutor) -> None:
        self.place, self.thread = place, thread
        self.base = place / "base"
        self.twin = Twin("archive", place)

    def guest(self, name: str, spec: Spec, images: bool = False) -> Disks:
        own = self.place / name
        own.mkdir(mode=0o711)
        disks = {v.key: Disk(own / "disks" / v.key, own / "volumes" / v.key, images) for v in spec.volumes}
        for disk in disks.values():
            disk.make(SMALLEST)
        return Disks(spec, own, disks)

    def write(self, path: Path, text: str, owner: int, mode: int = 0o644) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        for one in (path, *path.parents):
            if one == self.place:
                break
            os.chown(one, owner, owner)
        return path

    def do(self, function: Callable[..., T], *values: Any) -> T:
        """Call a function where mounts are nobody else's, and root has ids for the inside, as in a twin."""
        return self.thread.submit(function, *values).result()

    def mounts(self) -> str:
        return self.do(
            lambda: "".join(
                line for line in Path("/proc/thread-self/mounts").open() if str(self.place) in line
            )
        )


def _apart(ids: Path) -> None:
    """Into a mount namespace of this thread's own (unshare(2), CLONE_NEWNS)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    for name in ("subuid", "subgid"):
        subprocess.run(["mount", "--bind", ids, f"/etc/{name}"], check=True)


@pytest.fixture
def bench() -> Iterator[Bench]:
    place = Path(tempfile.mkdtemp(prefix="hearth-archive-"))
    place.chmod(0o711)
    ids = place / "ids"
    ids.write_text(f"root:{ROOT}:65536\n")
    with ThreadPoolExecutor(1, initializer=_apart, initargs=(ids,)) as thread:
        found = Bench(place, thread)
        yield found
        assert [line for line in found.mounts().splitlines() if "/etc/sub" not in line] == []
    shutil.rmtree(place)


@pytest.fixture
def ct(bench: Bench) -> Disks:
    """A container with files of its base, some of its own, one that it removed, and further disks."""
    for kind, owner in (("priv", 0), ("unpriv", ROOT)):
        bench.write(bench.base / kind / "etc/base", "of the base", owner)
        bench.write(bench.base / kind / "etc/removed", "of the base", owner)
    disks = bench.guest("ct", container(135, CT))
    root = disks.by_key["rootfs"].image / "upper"
    bench.write(root / "etc/own", "its own", ROOT + 33, 0o640)
    os.mknod(root / "etc/removed", 0o600 | 0o020000, 0)  # a whiteout of overlayfs
    bench.write(root / "tmp/forgotten", "x", ROOT)
    (root / "etc/link").symlink_to("own")
    for folder in ("srv/kept", "srv/left"):
        (root / folder).mkdir(parents=True)
    bench.write(disks.by_key["mp0"].image / "data", "kept", ROOT)
    bench.write(disks.by_key["mp1"].image / "data", "left", ROOT)
    return disks


def packed(bench: Bench, disks: Disks, config: str = "hostname: comms\n", name: str = "") -> Path:
    kind = disks.spec.kind
    ending = {"lxc": "tar", "qemu": "vma"}[kind]
    file = bench.place / "dump" / (name or f"vzdump-{kind}-135-2026_11_30-02_00_00.{ending}.zst")
    bench.do(pack, file, disks, config, bench.base)
    return file


def listed(file: Path) -> list[str]:
    shown = subprocess.run(["tar", "--zstd", "-tvf", file], capture_output=True, text=True, check=True)
    return shown.stdout.splitlines()


def test_an_archive_is_as_proxmox_writes_it(bench: Bench, ct: Disks) -> None:
    lines = listed(packed(bench, ct))
    names = [line.split(maxsplit=5)[5] for line in lines]
    assert names[0] == "./etc/vzdump/pct.conf", "the configuration first: it is found without reading all"
    assert {"./etc/base", "./etc/own", "./srv/kept/data"} <= set(names)
    assert not {"./etc/removed", "./srv/left/data", "./tmp/forgotten"} & set(names)
    own = next(line for line in lines if line.endswith("./etc/own"))
    assert own.startswith("-rw-r----- 33/33 "), "with the ids of the inside"


def test_a_guest_comes_back_whole(bench: Bench, ct: Disks) -> None:
    file = packed(bench, ct)
    back = bench.guest("back", container(135, CT))
    bench.do(unpack, file, back)
    root = back.by_key["rootfs"].image / "upper"
    assert (root / "etc/base").read_text() == "of the base"
    assert (root / "etc/own").read_text() == "its own"
    facts = (root / "etc/own").stat()
    assert (facts.st_uid, facts.st_mode & 0o777) == (ROOT + 33, 0o640)
    assert (root / "etc/link").readlink() == Path("own")
    assert not (root / "etc/removed").exists(), "what it had removed stays so"
    assert (back.by_key["mp0"].image / "data").read_text() == "kept"
    assert list(back.by_key["mp1"].image.iterdir()) == [], "not in the backup: an empty disk"
    assert list((root / "srv/kept").iterdir()) == []


def test_of_disks_with_a_size_and_while_they_are_written_to(bench: Bench) -> None:
    """Image files, as in most twins: the archive is of one moment, and the disks stay as they are."""
    if not bench.do(loops_work, bench.place):
        pytest.skip("no loop devices")
    bench.write(bench.base / "unpriv/etc/base", "of the base", ROOT)
    spec = container(135, {**CT, "mp1": "/srv,mp=/srv/bound"})
    disks = bench.guest("ct", spec, images=True)
    bench.do(lambda: [disk.mount() for disk in disks.by_key.values()])
    try:
        root = disks.by_key["rootfs"].place / "upper"
        bench.do(bench.write, root / "etc/own", "its own", ROOT)
        bench.do(lambda: (root / "srv/kept").mkdir(parents=True))
        bench.do(bench.write, disks.by_key["mp0"].place / "data", "kept", ROOT)
        file = packed(bench, disks)
        bench.do(bench.write, root / "etc/own", "newer", ROOT)
        assert bench.do((root / "etc/own").read_text) == "newer", "no longer frozen"
    finally:
        bench.do(lambda: [disk.unmount() for disk in disks.by_key.values()])
    back = bench.guest("back", spec, images=True)
    bench.do(unpack, file, back)

    def read_back() -> list[str]:
        for disk in back.by_key.values():
            disk.mount()
        try:
            root = back.by_key["rootfs"].place / "upper"
            files = [root / "etc/own", root / "etc/base", back.by_key["mp0"].place / "data"]
            return [path.read_text() for path in files]
        finally:
            for disk in back.by_key.values():
                disk.unmount()

    assert bench.do(read_back) == ["its own", "of the base", "kept"]


def test_what_does_not_fit_fails(bench: Bench) -> None:
    if not bench.do(loops_work, bench.place):
        pytest.skip("no loop devices")
    bench.write(bench.base / "unpriv/etc/base", "of the base", ROOT)
    spec = container(135, {"hostname": "comms", "unprivileged": 1, "rootfs": "local-lvm:d,size=1G"})
    disks = bench.guest("ct", spec)
    big = bench.write(disks.by_key["rootfs"].image / "upper/big", "", ROOT)
    with big.open("wb") as out:
        for _ in range(40):
            out.write(os.urandom(1 << 20) * 8)
    file = packed(bench, disks)
    with pytest.raises(GuestError, match="failed: exit code"):
        bench.do(unpack, file, bench.guest("back", spec, images=True))


def test_what_came_back_can_be_backed_up_again(bench: Bench, ct: Disks) -> None:
    first = packed(bench, ct)
    back = bench.guest("back", container(135, CT))
    bench.do(unpack, first, back)
    bench.base = nothing(bench.twin)
    second = packed(bench, back, name="vzdump-lxc-135-2026_11_30-03_00_00.tar.zst")
    assert sorted(line.split(maxsplit=5)[5] for line in listed(second)) == sorted(
        line.split(maxsplit=5)[5] for line in listed(first)
    )


@pytest.mark.parametrize("ending", ["tar.zst", "tar.gz", "tar"])
def test_each_compression(bench: Bench, ct: Disks, ending: str) -> None:
    file = packed(bench, ct, name=f"vzdump-lxc-135-2026_11_30-02_00_00.{ending}")
    assert read_config(file) == "hostname: comms\n"
    bench.do(unpack, file, bench.guest("back", container(135, CT)))


def test_a_vm_and_its_disks(bench: Bench) -> None:
    bench.write(bench.base / "priv/etc/base", "of the base", 0)
    disks = bench.guest("vm", machine(136, VM))
    bench.write(disks.by_key["scsi0"].image / "upper/etc/own", "its own", 0)
    bench.write(disks.by_key["scsi1"].image / "rows", "rows", 0)
    file = packed(bench, disks, "name: database\n")
    assert read_config(file) == "name: database\n"
    back = bench.guest("back", machine(136, VM))
    bench.do(unpack, file, back)
    root = back.by_key["scsi0"].image / "upper"
    assert [(root / "etc" / name).read_text() for name in ("base", "own")] == ["of the base", "its own"]
    assert (back.by_key["scsi1"].image / "rows").read_text() == "rows"


def test_half_of_an_archive_fails_and_leaves_no_mount(bench: Bench, ct: Disks) -> None:
    bench.write(ct.by_key["rootfs"].image / "upper/big", os.urandom(1 << 20).hex(), ROOT)
    file = packed(bench, ct)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert read_config(file) == "hostname: comms\n", "as on a node: the configuration stands first"
    with pytest.raises(GuestError, match="failed: exit code"):
        bench.do(unpack, file, bench.guest("back", container(135, CT)))


def test_a_damaged_archive_fails(bench: Bench, ct: Disks) -> None:
    bench.write(ct.by_key["rootfs"].image / "upper/big", os.urandom(1 << 20).hex(), ROOT)
    file = packed(bench, ct)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(GuestError, match="failed: exit code"):
        bench.do(unpack, file, bench.guest("back", container(135, CT)))


def test_what_is_no_archive(bench: Bench) -> None:
    file = bench.place / "vzdump-lxc-135-2026_11_30-02_00_00.tar.zst"
    with pytest.raises(GuestError, match="does not exist"):
        read_config(file)
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(GuestError, match="no configuration file"):
        read_config(file)


def test_a_real_vma_is_refused(bench: Bench, ct: Disks) -> None:
    file = packed(bench, ct, name="vzdump-qemu-136-2026_11_30-02_00_00.vma.zst")
    with pytest.raises(GuestError, match="no files of a twin's VM"):
        bench.do(unpack, file, bench.guest("back", machine(136, VM)))


def test_an_archive_that_cannot_be_written_is_none(bench: Bench, ct: Disks) -> None:
    bench.base = bench.place / "nowhere"
    with pytest.raises(Exception, match="mount"):
        packed(bench, ct)
    assert [path.name for path in (bench.place / "dump").glob("*.zst")] == []


def test_a_configuration_is_read_as_it_was_written() -> None:
    config = {
        "hostname": "comms",
        "memory": "512",
        "description": "100% mine: yes\nsecond\n",
        "net0": "a=b,c=d",
    }
    assert read(written(config)) == config
    assert read("hostname: comms\n\n[snap]\nhostname: old\n") == {"hostname": "comms"}


def test_files_of_this_machine_are_lent_and_never_changed(tmp_path: Path) -> None:
    twin = Twin("lent", tmp_path)
    file = tmp_path / "vzdump-lxc-135-2026_11_30-02_00_00.tar.zst"
    file.write_text("somebody's")
    with pytest.raises(HearthError, match="not up"):
        lend(twin, "elsewhere", [file])
    twin.dir.mkdir()
    twin.save(version=1)
    assert lend(twin, "elsewhere", [file]) == lend(twin, "elsewhere", [file]) == [file.name]
    (link,) = (twin.dir / "storages/elsewhere/dump").iterdir()
    assert link.read_text() == "somebody's"
    link.unlink()
    assert file.read_text() == "somebody's"
    with pytest.raises(HearthError, match="no name that vzdump gives"):
        lend(twin, "elsewhere", [tmp_path / "other.tar"])
