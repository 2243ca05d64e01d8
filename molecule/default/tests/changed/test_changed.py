# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import TYPE_CHECKING

from conftest import DIRECTORY

if TYPE_CHECKING:
    from conftest import Web
    from testinfra.host import Host


def test_one_container_is_another_one(server: Host) -> None:
    before = dict(line.split() for line in (DIRECTORY / "containers").read_text().splitlines())
    shown = server.check_output("docker ps --no-trunc --format '{{.Names}} {{.ID}}'")
    after = dict(line.split() for line in shown.splitlines())
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == ["hello-app-1"]


def test_the_page_has_changed(web: Web) -> None:
    assert "Good evening" in web.follow("/p/hello-there/").body
