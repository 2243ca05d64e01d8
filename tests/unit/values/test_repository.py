# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Keep
from ansible_collections.serverkit.core.plugins.module_utils._values.repository import parse


def options(**changes: Any) -> dict[str, Any]:
    return {"url": "/mnt/backups", "password": "secret", **changes}


def test_no_repository_is_none() -> None:
    assert parse(None) is None


@pytest.mark.parametrize(
    "url",
    ["/mnt/backups", "sftp:me@host:/x", "s3:https://s3.example.com/bucket", "rest:https://u:p@host/", "b2:bucket:x"],
)
def test_the_address_is_as_restic_takes_it(url: str) -> None:
    found = parse(options(url=url))
    assert found is not None
    assert found.url == url


@pytest.mark.parametrize("url", [None, "", "backups", "./backups", "-r", "--help", "http://host/", "/mnt\n/x", 3])
def test_other_addresses_are_refused(url: object) -> None:
    with pytest.raises(InputError, match="url of the repository"):
        parse(options(url=url))


@pytest.mark.parametrize("password", [None, "", "two\nlines"])
def test_a_password_is_one_line(password: object) -> None:
    with pytest.raises(InputError, match="password of the repository"):
        parse(options(password=password))


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "RESTIC_PASSWORD", "RESTIC_REPOSITORY", "a b", ""])
def test_variables_that_change_what_runs_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="variable"):
        parse(options(environment={name: "x"}))


@pytest.mark.parametrize("change", [{"s3": "x"}, {"-o": "x"}, {"s3.region": "a\nb"}, {"s3.region": None}])
def test_options_that_are_none_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="option"):
        parse(options(options=change))


@pytest.mark.parametrize("keep", [{"daily": -1}, {"daily": True}, {"daily": "7"}, {"yearly": 1}])
def test_a_count_is_a_number(keep: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="keep"):
        parse(options(keep=keep))


def test_all_that_is_given_is_there_and_secrets_are_not_shown() -> None:
    url = "rest:https://somebody:url-secret@host/"
    environment = {"AWS_SECRET_ACCESS_KEY": "aws-secret"}
    found = parse(
        options(url=url, environment=environment, options={"s3.region": "x"}, keep={"daily": 3, "last": None})
    )
    assert found is not None
    assert found.environment == environment
    assert found.options == {"s3.region": "x"}
    assert found.keep == Keep(daily=3)
    assert set(found.secrets) == {"secret", "url-secret", "aws-secret"}
    assert not [
        word for word in found.secrets if f"'{word}'" in repr(found) or word in repr(found).replace("Repository", "")
    ]
