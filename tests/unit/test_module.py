# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module tells about how it was called: in the log of the host, and in its result."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.serverkit.core.plugins.modules import serverkit_app, serverkit_db_link, serverkit_domain

SECRETS = ["hunter2'\"", "two\nlines", "back\\slash"]


def logged(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], module: Any = serverkit_app) -> str:
    lines: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda _self, text, **_options: lines.append(text))
    with patch_module_args({**arguments, "_ansible_check_mode": True}), pytest.raises(SystemExit):
        module.main()
    return "\n".join(lines)


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_is_logged_and_the_rest_is(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    item = {"name": "Bad", "variables": {"TITLE": "Blog"}, "secrets": {"PASSWORD": secret}}
    for arguments in (item, {"apps": [item]}):
        text = logged(monkeypatch, {**arguments, "registry_dsn": f"postgresql://u:{secret}@db/x", "definitions": "{}"})
        assert '"name": "Bad"' in text
        assert '"TITLE": "Blog"' in text
        assert not any(form in text for form in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], "definitions"))


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_of_a_domain_is_logged_and_the_rest_is(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    item = {
        "app": "Bad",
        "name": "a.com",
        "basic_auth": {"users": {"ann": secret}, "realm": "Vault"},
        "private_key": secret,
        "paths": [{"path": "/api", "port": 1}],
    }
    acme = {"email": "a@a.com", "eab_hmac_key": secret, "dns_credentials": {"key": secret}}
    for arguments in (item, {"domains": [item]}):
        text = logged(monkeypatch, {**arguments, "acme": acme}, serverkit_domain)
        for shown in ('"realm": "Vault"', '"path": "/api"', '"email": "a@a.com"'):
            assert shown in text
        assert not any(form in text for form in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]))


def test_a_short_number_in_a_secret_dictionary_blots_nothing_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    acme = {"dns_plugin": "rfc2136", "dns_credentials": {"port": "53", "secret": "hunter2hunter2"}}
    logged(monkeypatch, {"app": "Bad53-hunter2hunter2", "name": "a.com", "acme": acme}, serverkit_domain)
    message = json.loads(capsys.readouterr().out)["msg"]
    assert "Bad53-********" in message


@pytest.mark.parametrize(
    "wrong",
    [
        {"server": "hunter2-as-a-word"},
        {"pasword": "hunter2"},
        {"server": {"host": "localhost", "pasword": "hunter2"}},
        {"engine": "oracle"},
    ],
)
def test_nothing_is_shown_of_arguments_that_ansible_refuses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: dict[str, Any]
) -> None:
    item = {"app": "blog", "engine": "mariadb", "password": "hunter2-right", **wrong}
    for arguments in (item, {"links": [item]}):
        text = logged(monkeypatch, {**arguments, "_ansible_inject_invocation": True}, serverkit_db_link)
        result = capsys.readouterr().out
        assert json.loads(result)["failed"] is True
        assert "hunter2" not in result + text
