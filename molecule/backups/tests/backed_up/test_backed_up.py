# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from conftest import FIRST, front_page

if TYPE_CHECKING:
    from testinfra.host import Host

SETS = "/var/serverkit/backups/blog"
REPOSITORY = "/srv/elsewhere"
# Prints how many files below a directory have a piece of another file in them. Of a compressed file, since that would
# be stored as it is by a program that compresses and does not encrypt.
_COUNT_PIECES = """
import pathlib, sys
content = pathlib.Path(sys.argv[1]).read_bytes()
piece = content[len(content) // 2 :][:64]
print(sum(piece in path.read_bytes() for path in pathlib.Path(sys.argv[2]).rglob("*") if path.is_file()))
"""


def manifests(host: Host) -> list[dict[str, Any]]:
    paths = host.check_output(f"ls -d {SETS}/2*/manifest.json").split()
    return [json.loads(host.file(path).content_string) for path in paths]


def test_there_is_one_of_the_timer_and_one_of_the_playbook(first: Host) -> None:
    assert [manifest["reason"] for manifest in manifests(first)] == ["scheduled", "asked"]
    for manifest in manifests(first):
        assert [dump["link"] for dump in manifest["databases"]] == ["mariadb"]
        assert [tree["name"] for tree in manifest["volumes"]] == ["html"]


def test_nobody_else_can_read_them(first: Host) -> None:
    others = first.check_output("find /var/serverkit/backups /etc/serverkit/backup.yaml -perm /077 ! -type l")
    assert others == ""


def test_the_timers_are_on(first: Host) -> None:
    for name in ("serverkit-backup", "serverkit-backup-check"):
        assert first.service(f"{name}.timer").is_enabled
        assert first.service(f"{name}.timer").is_running
    assert not first.file("/etc/systemd/system/serverkit-backup-drill.timer").exists


def test_the_journal_tells_what_was_done_and_no_secret(first: Host) -> None:
    told = first.check_output("journalctl --unit serverkit-backup.service --output cat")
    assert "blog: 2" in told
    env = first.file("/var/serverkit/apps/blog/.env").content_string
    secrets = [line.partition("=")[2].strip("'\"") for line in env.splitlines() if "PASSWORD=" in line]
    assert secrets
    assert not [secret for secret in (*secrets, "correct horse battery staple") if secret in told]


def test_the_copies_are_encrypted_and_undamaged(first: Host) -> None:
    *_older, dump = first.check_output(f"ls {SETS}/2*/mysql/mariadb.sql.zst").split()
    found = {
        place: first.check_output("python3 -c %s %s %s", _COUNT_PIECES, dump, place) for place in (SETS, REPOSITORY)
    }
    assert int(found[SETS]) > 0
    assert int(found[REPOSITORY]) == 0
    restic = f"restic --repo {REPOSITORY} --no-cache"
    guessed = first.run(f"RESTIC_PASSWORD='correct horse' {restic} cat config")
    assert guessed.rc != 0
    assert "wrong password" in guessed.stderr
    first.check_output(f"RESTIC_PASSWORD='correct horse battery staple' {restic} check --read-data")


def test_all_is_well(first: Host) -> None:
    assert "blog: 2" in first.check_output("serverkit backup --check")
    assert "A post to keep" in front_page(FIRST)
