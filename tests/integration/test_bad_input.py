# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input (`bad_input_table`) through `ansible-playbook` and the real modules: a clear error, nothing touched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import yaml
from ansible_collections.serverkit.core.tests.integration import bad_input_table as table
from ansible_collections.serverkit.core.tests.integration.app_host import IMAGE, WEB, wait_for
from ansible_collections.serverkit.core.tests.integration.bad_input_table import Condition, Row
from ansible_collections.serverkit.core.tests.integration.playbook_host import PlaybookHost, host_for_playbooks

pytestmark = [pytest.mark.real, pytest.mark.testbed]

LISTS = {
    "serverkit_app": ("apps", [*table.APPS, *table.PORTS_OF_APPS]),
    "serverkit_port": ("ports", table.PORTS),
    "serverkit_domain": ("domains", table.DOMAINS),
}
# Valid: what is wrong is the host.
FINE: dict[str, dict[str, Any]] = {
    "serverkit_port": {"name": "http", "owner": "fine"},
    "serverkit_app": {"name": "fine", "template": "web"},
    "serverkit_domain": {"name": "fine.test", "app": "owner", "dns_check": "off", "check_port": False},
}


@pytest.fixture(scope="module")
def host(testbed_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaybookHost]:
    """A host on which the app `owner` has a port and a domain, a process and a stopped container have ports as well."""
    found = host_for_playbooks(testbed_server, tmp_path_factory.mktemp("play"))
    templates = found.work / "templates"
    templates.mkdir()
    (templates / "web.yaml").write_text(yaml.safe_dump(WEB, sort_keys=False), encoding="utf-8")
    for name, text in table.TEMPLATES.items():
        (templates / f"{name}.yaml").write_text(text, encoding="utf-8")
    found.clean()
    found.keep_nginx()
    owner = {"name": "owner", "template": "web", "variables": {"HTTP_PORT": table.OWNER_PORT}}
    domain = {"name": "owner.test", "app": "owner", "dns_check": "off"}
    done = found.tasks(
        [
            {
                "name": "default",
                "ansible.builtin.file": {"path": "/etc/nginx/sites-enabled/default", "state": "absent"},
            },
            {"name": "app", "serverkit.core.serverkit_app": owner},
            {"name": "domain", "serverkit.core.serverkit_domain": domain},
        ]
    )
    assert not [result for result in done.results.values() if result["failed"]], done.output
    found.sh(f"docker create --name squatter -p {table.DOCKER_PORT}:80 {IMAGE}")
    found.sh(f"nohup python3 -m http.server {table.SQUATTED_PORT} >/dev/null 2>&1 & echo $! > /run/squatter")
    assert wait_for(lambda: found.get(table.SQUATTED_PORT))
    yield found
    found.sh("kill $(cat /run/squatter)")
    found.restore_nginx()
    found.clean()
    found.disconnect()


def test_each_row_has_its_message_and_nothing_is_touched(host: PlaybookHost) -> None:
    tasks = [
        {"name": module, f"serverkit.core.{module}": {option: [row.item for row in rows]}}
        for module, (option, rows) in LISTS.items()
    ]
    tasks += [
        {"name": f"specification of {module}", f"serverkit.core.{module}": arguments}
        for module, (arguments, _message) in table.SPECIFICATIONS.items()
    ]
    before = host.snapshot(locks=False)
    run = host.tasks(tasks)
    assert host.snapshot(locks=False) == before
    wrong = []
    for module, (_option, rows) in LISTS.items():
        results = run.results[module]["results"]
        wrong += [line for row, result in zip(rows, results, strict=True) for line in _complaints(module, row, result)]
    assert wrong == [], "\n".join(wrong)
    for module, (_arguments, message) in table.SPECIFICATIONS.items():
        for sentence in message:
            assert sentence in run.message(f"specification of {module}")


def _complaints(module: str, row: Row, result: dict[str, Any]) -> Iterator[str]:
    if not result.get("failed") or result["changed"]:
        yield f"{module}, {row.what}: it is not refused: {json.dumps(result)}"
        return
    for sentence in row.message:
        if sentence not in result["msg"]:
            yield f"{module}, {row.what}: no {sentence!r} in: {result['msg']}"


@pytest.mark.parametrize("condition", table.CONDITIONS, ids=lambda condition: condition.what)
def test_what_is_wrong_with_the_host_is_named(host: PlaybookHost, condition: Condition) -> None:
    tasks = [
        {"name": module, f"serverkit.core.{module}": FINE[module]} for module in FINE if module in condition.messages
    ]
    host.sh(condition.spoil)
    try:
        before = _snapshot(host, condition)
        run = host.tasks(tasks)
        after = _snapshot(host, condition)
    finally:
        host.sh(condition.mend)
    assert sorted({*before} ^ {*after}) == []
    for module, message in condition.messages.items():
        for sentence in message:
            assert sentence in run.message(module), run.message(module)


def _snapshot(host: PlaybookHost, condition: Condition) -> Sequence[str]:
    """Return what there is. Of a registry that was written, the rows count, and not the bytes of its file."""
    lines = host.snapshot(locks=False).splitlines()
    if not condition.taken_back:
        return lines
    files = [line for line in lines if not re.match(r"/var/serverkit 755 |/var/serverkit/serverkit.db ", line)]
    dump = "import sqlite3; print(*sqlite3.connect('file:/var/serverkit/serverkit.db?mode=ro', uri=True).iterdump())"
    return [
        *(line for line in files if not line.endswith("  /var/serverkit/serverkit.db")),
        host.sh(f'python3 -c "{dump}"'),
    ]
