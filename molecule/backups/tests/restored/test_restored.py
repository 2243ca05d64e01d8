# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import TYPE_CHECKING

from conftest import FIRST, front_page

if TYPE_CHECKING:
    from testinfra.host import Host


def test_the_post_is_back() -> None:
    assert "A post to keep" in front_page(FIRST)


def test_the_file_is_back(first: Host) -> None:
    assert first.check_output("docker exec blog-wordpress-1 cat wp-content/uploads/upload.txt") == "an upload"
