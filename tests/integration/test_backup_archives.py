# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trees as archives, with the real tar: all that is in them comes back, and stays where it is unpacked."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import shutil
import socket
import stat
import struct
import subprocess
import threading
import time
from collections.abc import Iterator

import backup_files
import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.archives import archive, extract
from backup_files import noise

pytestmark = pytest.mark.real

# An ACL as the kernel has it (acl(5)): version 2; owner rwx, user 4321 r--, group r-x, mask r-x, others nothing.
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((1, 7, 0xFFFFFFFF), (2, 4, 4321), (4, 5, 0xFFFFFFFF), (16, 5, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF))
)


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file system of one megabyte."""
    with backup_files.small_disk(tmp_path) as place:
        yield place


def make_odd_tree(top: pathlib.Path) -> None:
    """All that a file system can have in a directory."""
    top.mkdir()
    (top / "plain").write_bytes(noise(100_000))
    os.link(top / "plain", top / "its second name")
    with (top / "with holes").open("wb") as stream:
        stream.truncate(50_000_000)
        stream.seek(30_000_000)
        stream.write(b"in the middle")
    names = ["line\nbreak", "back\\slash", "-rf", "..well", " blank ", "umlaut \u00e4", "*", "'\"$(x)", "n" * 255]
    for name in names:
        (top / name).write_text(name)
    pathlib.Path(os.fsdecode(os.fsencode(top) + b"/latin \xe4")).write_text("not UTF-8")
    deep = top / "/".join(["d" * 200] * 5)
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    (top / "absolute").symlink_to("/etc/hostname")
    (top / "upward").symlink_to("../../elsewhere")
    (top / "dangling").symlink_to("nothing")
    os.mkfifo(top / "fifo", 0o620)
    os.mknod(top / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    socket.socket(socket.AF_UNIX).bind(str(top / "sock"))
    (top / "closed").mkdir()
    (top / "closed" / "inside").write_text("x")
    os.chmod(top / "closed", 0o500)
    (top / "setuid").write_text("x")
    os.chown(top / "setuid", 12345, 54321)
    os.chmod(top / "setuid", 0o6755)
    os.setxattr(top / "plain", "user.note", b"kept\0too")
    os.setxattr(top / "plain", "trusted.note", b"root only")
    os.setxattr(top / "setuid", "system.posix_acl_access", ACL)
    os.setxattr(top / "closed", "system.posix_acl_default", ACL)
    os.chown(top, 999, 998)
    os.chmod(top, 0o1770)
    for path in [top, *top.rglob("*")]:
        os.utime(path, ns=(1_500_000_000_123_456_789, 1_400_000_000_987_654_321), follow_symlinks=False)


def described(top: pathlib.Path) -> dict[str, tuple[object, ...]]:
    """Everything of a tree that has to be the same after it was restored."""
    inodes: dict[int, str] = {}
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([top, *top.rglob("*")]):
        status = path.lstat()
        name = str(path.relative_to(top))
        content: object = None
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        attributes = {
            key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)
        }
        first = inodes.setdefault(status.st_ino, name)
        found[name] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            status.st_rdev,
            content,
            attributes,
            first,
        )
    return found


def test_a_tree_comes_back_with_all_that_it_has(tmp_path: pathlib.Path) -> None:
    tree, path, back = tmp_path / "tree", tmp_path / "tree.tar.zst", tmp_path / "back"
    make_odd_tree(tree)
    stored, entries = archive(str(tree), str(path))
    wanted = described(tree)
    assert wanted.pop("sock")[5] is None
    assert entries == len(wanted)
    assert stored.content_size < 1_000_000, "a hole takes no room"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["tree", "tree.tar.zst"]
    back.mkdir()
    assert extract(str(path), str(back)) == entries
    assert described(back) == wanted
    assert (back / "with holes").stat().st_blocks < 1000


def test_the_same_tree_gives_the_same_archive(tmp_path: pathlib.Path) -> None:
    tree = tmp_path / "tree"
    make_odd_tree(tree)
    (tree / "with holes").unlink()  # tar's process id is in the entries of such files
    first, _entries = archive(str(tree), str(tmp_path / "1.zst"))
    (tree / "plain").read_bytes()
    os.utime(tree / "plain", ns=(time.time_ns(), 1_400_000_000_987_654_321))
    second, _entries = archive(str(tree), str(tmp_path / "2.zst"))
    assert first.sha256 == second.sha256


def test_paths_are_excluded_as_they_are(tmp_path: pathlib.Path) -> None:
    tree, back = tmp_path / "tree", tmp_path / "back"
    for name in ("data", "data/x", "keep/data", "a*b", "acb", ".blog.serverkit-new-1", "keep/.x.serverkit-old-2"):
        (tree / name).mkdir(parents=True)
    _stored, entries = archive(str(tree), str(tmp_path / "x.zst"), exclude=["data/", "a*b", "./not there"])
    back.mkdir()
    assert extract(str(tmp_path / "x.zst"), str(back)) == entries
    assert sorted(described(back)) == [".", "acb", "keep", "keep/data"]


def test_a_single_file_is_archived_under_its_name(tmp_path: pathlib.Path) -> None:
    (tmp_path / "real").write_text("x = 1")
    (tmp_path / "my.conf").symlink_to("real")
    _stored, entries = archive(str(tmp_path / "my.conf"), str(tmp_path / "x.zst"))
    (tmp_path / "back").mkdir()
    assert (extract(str(tmp_path / "x.zst"), str(tmp_path / "back")), entries) == (1, 1)
    assert not (tmp_path / "back" / "my.conf").is_symlink()
    assert (tmp_path / "back" / "my.conf").read_text() == "x = 1"


def test_what_cannot_be_archived_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(HostError, match="No such file"):
        archive(str(tmp_path / "gone"), str(tmp_path / "x.zst"))
    (tmp_path / "tree").mkdir()
    with pytest.raises(HostError, match="No such file"):
        archive(str(tmp_path / "tree"), str(tmp_path / "no folder" / "x.zst"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["tree"]


def test_a_file_that_changes_meanwhile_is_a_failure_unless_it_may(tmp_path: pathlib.Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "big").write_bytes(noise(60_000_000))
    done = threading.Event()

    def append() -> None:
        with (tree / "big").open("ab") as stream:
            while not done.is_set():
                stream.write(b"x")
                stream.flush()
                time.sleep(0.001)

    writer = threading.Thread(target=append)
    writer.start()
    try:
        with pytest.raises(HostError, match="file changed as we read it"):
            archive(str(tree), str(tmp_path / "x.zst"))
        assert not (tmp_path / "x.zst").exists()
        _stored, entries = archive(str(tree), str(tmp_path / "x.zst"), live=True)
    finally:
        done.set()
        writer.join()
    assert entries == 2


@pytest.mark.parametrize("name", ["/etc/passwd", "../passwd", "a/../../passwd", "passwd"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: pathlib.Path, name: str) -> None:
    (tmp_path / "passwd").write_text("root of all evil")
    (tmp_path / "back").mkdir()
    rename = f"--transform=flags=rSh;s,.*,{name},"
    subprocess.run(["tar", "-P", "-C", tmp_path, rename, "--zstd", "-cf", tmp_path / "x.zst", "./passwd"], check=True)
    before = described(tmp_path)
    with pytest.raises(HostError, match=r"passwd is not a name below it|contains '\.\.'"):
        extract(str(tmp_path / "x.zst"), str(tmp_path / "back"))
    for found in (tmp_path / "back").rglob("*"):
        shutil.rmtree(found) if found.is_dir() else found.unlink()
    assert described(tmp_path).keys() == before.keys()
    assert (tmp_path / "passwd").read_text() == "root of all evil"


def test_a_link_in_an_archive_does_not_lead_outside(tmp_path: pathlib.Path) -> None:
    (tmp_path / "1" / "way").mkdir(parents=True)
    (tmp_path / "1" / "way" / "evil").write_text("evil")
    (tmp_path / "2").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "2" / "way").symlink_to(tmp_path / "outside")
    tar = str(tmp_path / "x.tar")
    subprocess.run(["tar", "-cf", tar, "-C", tmp_path / "2", "./way", "-C", tmp_path / "1", "./way/evil"], check=True)
    subprocess.run(["zstd", "-q", tar, "-o", tmp_path / "x.zst"], check=True)
    (tmp_path / "back").mkdir()
    with contextlib.suppress(HostError):
        extract(str(tmp_path / "x.zst"), str(tmp_path / "back"))
    assert not list((tmp_path / "outside").iterdir())


def test_an_archive_is_unpacked_into_nothing_only(tmp_path: pathlib.Path, small_disk: pathlib.Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "big").write_bytes(noise(3_000_000))
    archive(str(tmp_path / "tree"), str(tmp_path / "x.zst"))
    with pytest.raises(HostError, match="the directory is not empty"):
        extract(str(tmp_path / "x.zst"), str(tmp_path / "tree"))
    with pytest.raises(HostError, match="No such file"):
        extract(str(tmp_path / "x.zst"), str(tmp_path / "gone"))
    with pytest.raises(HostError, match=r"No space left on device|Wrote only \d+ of"):
        extract(str(tmp_path / "x.zst"), str(small_disk))
