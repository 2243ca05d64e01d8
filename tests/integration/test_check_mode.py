# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`deploy.yml --check --diff` on a deployed host with one variable of each app changed: all shown, nothing written."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ansible_collections.serverkit.core.tests.integration.app_host import ROOT, WEB
from ansible_collections.serverkit.core.tests.integration.playbook_host import PlaybookHost, host_for_playbooks

pytestmark = [pytest.mark.real, pytest.mark.testbed]

SNAPSHOT = (ROOT / "molecule" / "default" / "files" / "snapshot.sh").read_text(encoding="utf-8")
# Databases that other tests have installed on the host write whenever they like; these apps use none.
DATABASES = ("/var/lib/postgresql", "/var/lib/mysql", "/var/lib/redis")
BEFORE, AFTER = "s3cret-before'$x", "s3cret-after'$x"


def _apps() -> list[dict[str, Any]]:
    def app(name: str, port: int) -> dict[str, Any]:
        return {
            "name": name,
            "template": "web",
            "variables": {"HTTP_PORT": port, "GREETING": "hello"},
            "secrets": {"SECRET": BEFORE},
            "private_url": False,
            "domains": [{"name": f"{name}.test", "dns_check": "off"}],
        }

    return [app("greeting", 8001), app("moving", 8002), app("rotating", 8003), app("same", 8004)]


@pytest.fixture(scope="module")
def host(testbed_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaybookHost]:
    found = host_for_playbooks(testbed_server, tmp_path_factory.mktemp("play"))
    templates = found.work / "templates"
    templates.mkdir()
    (templates / "web.yaml").write_text(yaml.safe_dump(WEB, sort_keys=False), encoding="utf-8")
    found.clean()
    found.keep_nginx()
    yield found
    found.restore_nginx()
    found.clean()
    found.disconnect()


def _snapshot(host: PlaybookHost) -> set[str]:
    return {line for line in host.sh(SNAPSHOT).splitlines() if not line.startswith(DATABASES)}


def _deploy(host: PlaybookHost, apps: list[dict[str, Any]], *, check: bool) -> str:
    paths = [str(host.work / "templates")]
    variables = {"serverkit_apps": apps, "serverkit_template_paths": paths}
    run = host.playbook("serverkit.core.deploy", variables, check=check)
    assert run.returncode == 0, run.output
    assert not re.search(r"unreachable=[1-9]|failed=[1-9]", run.output)
    return run.output


def test_a_change_is_shown_whole_and_nothing_is_written(host: PlaybookHost) -> None:
    host.sh("mkdir -p -m 700 /root/.ansible")  # Ansible's own, made at the first task that needs it
    bare = _snapshot(host)
    shown = _deploy(host, _apps(), check=True)
    assert sorted(bare ^ _snapshot(host)) == []
    for line in (
        "+state: started",
        "+port HTTP_PORT: 8001/tcp",
        "+    image: ",
        "+SECRET=<redacted ",
        "+    server_name same",
    ):
        assert line in shown
    _deploy(host, _apps(), check=False)
    changed = copy.deepcopy(_apps())
    changed[0]["variables"]["GREETING"] = "good evening"
    changed[1]["variables"]["HTTP_PORT"] = 8012
    changed[2]["secrets"]["SECRET"] = AFTER
    before = _snapshot(host)
    shown = _deploy(host, changed, check=True)
    assert sorted(before ^ _snapshot(host)) == []
    blocks = _blocks(shown)
    assert "-      GREETING: hello" in blocks["greeting/docker-compose.yml"]
    assert "+      GREETING: good evening" in blocks["greeting/docker-compose.yml"]
    assert "-port HTTP_PORT: 8002/tcp" in blocks["app moving"]
    assert "+port HTTP_PORT: 8012/tcp" in blocks["app moving"]
    assert "127.0.0.1:8012:80" in blocks["moving/docker-compose.yml"]
    assert ":8012" in blocks["/etc/nginx/sites-available/moving"]
    assert re.search(r"^-SECRET=<redacted .*>\n\+SECRET=<redacted .*>$", blocks["rotating/.env"], re.MULTILINE)
    assert "service app: up (container made anew)" in blocks["app rotating"]
    assert not [header for header in blocks if "same" in header]
    assert not any(secret in shown for secret in (BEFORE, AFTER, "s3cret"))
    again = _deploy(host, _apps(), check=True)
    assert re.search(r"changed=0 ", again)
    assert sorted(before ^ _snapshot(host)) == []


def _blocks(output: str) -> dict[str, str]:
    """Return the diffs of a run by what they are of."""
    parts = re.split(r"^--- (?:before: )?(.*)$", output, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))
