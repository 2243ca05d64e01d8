# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Keep
from ansible_collections.serverkit.core.plugins.module_utils._values.backup_request import (
    BackupRequest,
    TakeOptions,
    parse,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.links import ServerRequest


def test_nothing_but_the_app_is_needed() -> None:
    assert parse({"app": "blog"}) == BackupRequest("blog")
    assert parse({"app": "blog"}).name == "blog"


def test_everything_that_can_be_said() -> None:
    found = parse(
        {
            "app": "blog",
            "state": "verified",
            "max_age": "2d",
            "keep": {"last": 3, "daily": 0, "weekly": 2, "monthly": None},
            "quiesce": "stop",
            "exclude": ["cache", "./data/tmp"],
            "databases": [{"name": "mariadb", "server": {"host": "db", "user": "root", "password": "x"}}],
        }
    )
    servers = {"mariadb": ServerRequest(host="db", user="root", password="x")}
    options = TakeOptions("stop", ("cache", "./data/tmp"), servers)
    assert found == BackupRequest("blog", "verified", 172800, Keep(3, 0, 2), options)
    assert "'x'" not in repr(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"app": "../etc"}, "1 to 63 characters"),
        ({"max_age": "yesterday"}, "max_age is 'yesterday'"),
        ({"max_age": "0h"}, "24h or 7d"),
        ({"max_age": "24"}, "24h or 7d"),
        ({"keep": {"daily": -1}}, "keep.daily is -1"),
        ({"quiesce": "freeze"}, "pause, stop, none"),
        ({"exclude": [""]}, "cannot be excluded"),
        ({"exclude": ["a\nb"]}, "cannot be excluded"),
        ({"exclude": [3]}, "cannot be excluded"),
        ({"databases": [{"name": "a"}, {"name": "a"}]}, "named twice"),
        ({"databases": [{"name": "a", "server": {"host": "db"}}]}, "no administrator"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse({"app": "blog", **options})
