# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_settings import BackupSettings, load

WHOLE = """
apps: [blog, shop]
exclude_apps: [shop]
defaults: {keep: {daily: 3}}
items:
  blog: {quiesce: stop}
directory: /srv/backups
max_age: 2d
repository: {url: /srv/far, password: the secret}
read_data: 5%
"""


def test_without_a_file_there_are_defaults(tmp_path: pathlib.Path) -> None:
    assert load(str(tmp_path / "none")) == BackupSettings()


def test_all_that_is_there_is_read(tmp_path: pathlib.Path) -> None:
    (tmp_path / "backup.yaml").write_text(WHOLE)
    found = load(str(tmp_path / "backup.yaml"))
    assert (found.apps, found.exclude_apps, found.max_age, found.read_data) == (("blog", "shop"), ("shop",), "2d", "5%")
    assert found.item("blog") == {"app": "blog", "keep": {"daily": 3}, "quiesce": "stop"}
    assert found.item("shop") == {"app": "shop", "keep": {"daily": 3}}
    assert found.task == {"directory": "/srv/backups", "repository": {"url": "/srv/far", "password": "the secret"}}
    assert "the secret" not in repr(found)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("app: [blog]", "unknown key: app"),
        ("apps: blog", "apps is not of the type list"),
        ("repository: /srv/far", "repository is not of the type dict"),
        ("repository: {password: [the secret}", "not valid YAML"),
        ("- blog", "not valid YAML"),
    ],
)
def test_what_cannot_be_understood_is_told_without_secrets(tmp_path: pathlib.Path, text: str, reason: str) -> None:
    (tmp_path / "backup.yaml").write_text(text)
    with pytest.raises(HostError, match=reason) as failure:
        load(str(tmp_path / "backup.yaml"))
    assert "secret" not in str(failure.value)
