# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import TYPE_CHECKING

from conftest import FIRST, SECOND, front_page

if TYPE_CHECKING:
    from testinfra.host import Host

ENV = "/var/serverkit/apps/blog/.env"


def test_the_second_server_has_the_post() -> None:
    assert "A post to keep" in front_page(SECOND)


def test_it_has_the_file(second: Host) -> None:
    assert second.check_output("docker exec blog-wordpress-1 cat wp-content/uploads/upload.txt") == "an upload"


def test_it_has_a_database_of_its_own(second: Host) -> None:
    assert int(second.check_output("mariadb -N -e 'SELECT COUNT(*) FROM blog.wp_posts'")) > 0
    assert second.file(ENV).mode == 0o600


def test_the_first_server_is_as_it_was() -> None:
    assert "A post to keep" in front_page(FIRST)


def test_nothing_is_left_on_the_way(second: Host) -> None:
    assert second.check_output("ls -A /var/serverkit/backups/blog | grep incoming || true") == ""
