# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from conftest import FIRST, front_page

if TYPE_CHECKING:
    from testinfra.host import Host

SETS = "/var/serverkit/backups/blog"


def manifests(host: Host) -> list[dict[str, object]]:
    paths = host.check_output(f"ls -d {SETS}/2*/manifest.json").split()
    return [json.loads(host.file(path).content_string) for path in paths]


def test_there_is_one_of_the_timer_and_one_of_the_playbook(first: Host) -> None:
    assert [manifest["reason"] for manifest in manifests(first)] == ["scheduled", "asked"]
    for manifest in manifests(first):
        assert [dump["link"] for dump in manifest["databases"]] == ["mariadb"]  # type: ignore[attr-defined]
        assert [tree["name"] for tree in manifest["volumes"]] == ["html"]  # type: ignore[attr-defined]


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
    assert first.run("grep --recursive --quiet 'A post to keep' /srv/elsewhere").rc == 1
    first.check_output(
        "RESTIC_PASSWORD='correct horse battery staple' restic --repo /srv/elsewhere check --read-data --no-cache"
    )


def test_all_is_well(first: Host) -> None:
    assert "blog: 2" in first.check_output("serverkit backup --check")
    assert "A post to keep" in front_page(FIRST)
