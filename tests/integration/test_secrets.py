# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret is seen anywhere: real runs of every module and of the playbook with `-vvvv --diff`, failures above all.

All runs happen once, for the whole file. The tests then look through what they left on the controller and on the host.
"""

from __future__ import annotations

import copy
import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from ansible_collections.serverkit.core.tests.integration.playbook_host import IMAGE, PlaybookHost, host_for_playbooks
from ansible_collections.serverkit.core.tests.integration.postgresql_server import Cluster
from ansible_collections.serverkit.core.tests.integration.secrets_evidence import (
    PRINTABLE,
    Evidence,
    collect_files,
    run_tasks,
    task,
    tell,
    watched,
)
from ansible_collections.serverkit.core.tests.integration.secrets_scan import marker

pytestmark = [pytest.mark.real, pytest.mark.testbed]

_KEY_LINES = [f"{marker(31)}+/{marker(31)}" for _index in range(40)]
KEY = "\n".join(["-----BEGIN KEY-----", *_KEY_LINES, "-----END KEY-----", ""])

# Tells all of its secrets, and dies of it.
TELL = tell("API_TOKEN", "GENERATED", "SPECIAL", "SESSION", "ADMIN_PASSWORD")
SERVE = (
    'case "$$MODE" in'
    ' tell) python3 -c "$$TELL"; exit 3;;'
    ' hang) python3 -c "$$TELL"; exec sleep 900;;'
    ' needy) [ -e /data/fine ] || { python3 -c "$$TELL"; exit 3; };;'
    " esac; mkdir -p /w; cd /w; exec python3 -m http.server 80"
)
VAULT: dict[str, Any] = {
    "id": "vault",
    "name": "Vault",
    "version": "1.0",
    "description": "An app with a secret of each kind",
    "main_service": "app",
    "main_port": "HTTP_PORT",
    "health": {"type": "http", "path": "/", "timeout": 60},
    "variables": [
        {"name": "HTTP_PORT", "type": "port", "default": "8100"},
        {"name": "MODE", "default": "serve"},
        {"name": "ADMIN_PASSWORD", "type": "password", "required": True},
        {"name": "API_TOKEN", "secret": True, "default": ""},
        {"name": "PIN", "secret": True, "pattern": "[0-9]{4}", "default": "1234"},
        {"name": "AGE", "type": "integer", "secret": True, "default": "1"},
        {"name": "PLAN", "secret": True, "choices": ["small", "large"], "default": "small"},
        {"name": "GENERATED", "type": "password"},
        {"name": "SPECIAL", "type": "password", "special_chars": True, "length": 200},
        {"name": "SESSION", "type": "uuid"},
    ],
    "compose": {
        "services": {
            "app": {
                "image": IMAGE,
                "init": True,
                "stop_grace_period": "1s",
                "command": ["sh", "-c", SERVE],
                "ports": ["${HTTP_PORT}:80"],
                "volumes": ["data:/data"],
                "environment": {
                    "TELL": TELL,
                    **{name: f"${{{name}}}" for name in ("MODE", "ADMIN_PASSWORD", "API_TOKEN", "PIN", "AGE", "PLAN")},
                    **{name: f"${{{name}}}" for name in ("GENERATED", "SPECIAL", "SESSION")},
                },
            }
        },
        "volumes": {"data": {}},
    },
}


def _variant(identity: str, **changes: Any) -> dict[str, Any]:
    made = copy.deepcopy(VAULT)
    made["id"] = identity
    made["compose"]["services"]["app"].update(changes.pop("service", {}))
    return {**made, **changes}


_HOOK = ["sh", "-c", 'python3 -c "$TELL"; exit 1']
TEMPLATES = {
    "vault": VAULT,
    "refused": _variant("refused", service={"mem_limit": "${ADMIN_PASSWORD}"}),
    "hook": _variant("hook", hooks={"post_deploy": [{"service": "app", "command": _HOOK}]}),
    "parting": _variant("parting", hooks={"pre_remove": [{"service": "app", "command": _HOOK}]}),
    # As files for ServerKit have it: a mapping, a password without a type beside one with, a file with one in it.
    "foreign": {
        "name": "Foreign",
        "version": 2,
        "variables": {
            "PORT": {"type": "port", "default": 8200},
            "ADMIN_PASSWORD": {"type": "password", "required": True},
        },
        "compose": {
            "services": {
                "web": {
                    "image": IMAGE,
                    "command": ["python3", "-m", "http.server", "80"],
                    "ports": ["${PORT}:80"],
                    "environment": ["PW=${ADMIN_PASSWORD}", "URL=mysql://u:${ADMIN_PASSWORD}@db/x"],
                }
            }
        },
        "files": [{"path": "/etc/web.conf", "content": "password = ${ADMIN_PASSWORD}\n", "service": "web"}],
    },
}


def app(name: str, arguments: Mapping[str, Any], *expected: str) -> dict[str, Any]:
    return task("app", name, arguments, *expected)


def good(give: Any) -> list[dict[str, Any]]:
    """Return tasks that succeed."""
    secrets = {"ADMIN_PASSWORD": give("printable", PRINTABLE), "API_TOKEN": give("blanks", "  a  b  ")}
    several = [
        {"name": "printable", "template": "vault", "secrets": secrets},
        {"name": "key", "template": "vault", "variables": {"ADMIN_PASSWORD": give("key", f"\n{KEY}")}},
    ]
    return [
        app("a list of apps", {"apps": several}),
        app(
            "an app at top level",
            {
                "name": "single",
                "template": "vault",
                "variables": {"ADMIN_PASSWORD": give("in variables", "'\"\\"), "MODE": "needy"},
                "secrets": {"API_TOKEN": give("single", "'\"\\")},
                "state": "stopped",
            },
        ),
        app(
            "foreign",
            {"name": "foreign", "template": "foreign", "variables": {"ADMIN_PASSWORD": give("foreign", "ä'/")}},
        ),
        app(
            "the same secrets of an app that goes",
            {
                "name": "gone",
                "template": "vault",
                "state": "absent",
                "variables": {"ADMIN_PASSWORD": give("gone", "'")},
            },
        ),
    ]


def failing(give: Any) -> list[dict[str, Any]]:
    """Return tasks that fail once containers run."""

    def one(name: str, template: str, mode: str, expected: str) -> dict[str, Any]:
        secrets = {"ADMIN_PASSWORD": give(name, PRINTABLE), "API_TOKEN": give(f"{name}, key", f"\n{KEY}")}
        arguments = {"name": name, "template": template, "secrets": secrets, "variables": {"MODE": mode}}
        return app(name, {**arguments, "health_timeout": 4}, *([expected] if expected else []))

    several = [
        one(name, "vault", mode, "")["serverkit.core.serverkit_app"]
        for name, mode in {"tells": "tell", "hangs": "hang"}.items()
    ]
    return [
        app("gates", {"apps": several}, "2 of 2 apps failed"),
        one("refused", "refused", "serve", "check the Compose file"),
        one("hooked", "hook", "serve", "run the hook"),
    ]


def refused(give: Any) -> list[dict[str, Any]]:
    """Return tasks that are refused before anything is done."""
    number = 0

    def item(**arguments: Any) -> dict[str, Any]:
        nonlocal number
        number += 1
        defaults = {"name": f"refused-{number}", "template": "vault"}
        return {key: value for key, value in {**defaults, **arguments}.items() if value is not None}

    def secret(name: str) -> str:
        return str(give(name, "'\"\\"))

    def values(name: str) -> dict[str, str]:
        return {"ADMIN_PASSWORD": secret(name)}

    items = {
        "it is required": item(variables={"API_TOKEN": secret("required")}),
        "variables.ADMIN_PASWORD": item(variables={"ADMIN_PASWORD": secret("misspelt"), **values("spelt")}),
        "secrets.NO_SUCH": item(secrets={"NO_SUCH": secret("no such"), **values("such")}),
        "its value is a list": item(secrets={"ADMIN_PASSWORD": [secret("a list")]}),
        "its value is a dict": item(variables={"ADMIN_PASSWORD": {"a": secret("a mapping")}}),
        "does not match": item(variables={"PIN": secret("pattern"), **values("with pattern")}),
        "not a whole number": item(variables={"AGE": secret("number"), **values("with number")}),
        "is not one of": item(secrets={"PLAN": secret("choice"), **values("with choice")}),
        "NUL": item(secrets={"ADMIN_PASSWORD": give("NUL", "\0")}),
        "in variables and in secrets": item(variables=values("twice 1"), secrets=values("twice 2")),
        "Did you mean vault": item(template="valut", variables=values("unknown template")),
        "broken.yaml": item(template="broken", variables=values("broken template")),
        "Name the template": item(template=None, variables=values("no template")),
        "1 to 63 characters": item(name="../x", variables=values("name")),
    }
    word, text = give("a word", "-"), f"ADMIN_PASSWORD={give('as text', '-')} PIN=x"
    shapes: list[tuple[dict[str, Any], str]] = [
        (item(variables=text), "PIN"),
        (item(secrets=word), "secrets"),
        (item(variables=word), "variables"),
        (item(secrets=[secret("secrets as a list")]), "secrets"),
        (item(variables=[secret("variables as a list")]), "variables"),
        (item(secret=values("no such option")), "secret"),
    ]
    far = item(remote_src=True, variables={"PIN": "none", **values("from the host")})
    return [
        app("values of one app", items["variables.ADMIN_PASWORD"], "variables.ADMIN_PASWORD"),
        app("values", {"apps": list(items.values())}, *items),
        *(app(f"shape {index}", task, expected) for index, (task, expected) in enumerate(shapes)),
        *(app(f"shape {index}, listed", {"apps": [task]}, expected) for index, (task, expected) in enumerate(shapes)),
        app("apps as a word", {"apps": word}, "could not parse JSON"),
        app("from the host", far, "PIN"),
    ]


def registry(give: Any, dsns: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a task of each module for each way in which a DSN is of no use."""
    modules: dict[str, dict[str, Any]] = {
        "port": {"name": "http", "owner": "blog"},
        "domain": {"name": "blog.test", "app": "blog", "port": 8001, "check_port": False},
        "app": {"name": "blog", "template": "vault", "secrets": {"ADMIN_PASSWORD": give("of registry", "'\"\\")}},
    }
    return [
        {
            "name": f"{module} {kind}",
            f"serverkit.core.serverkit_{module}": {**arguments, "registry_dsn": dsn},
            "vars": {"expected": ["egistry"]},
        }
        for kind, dsn in dsns.items()
        for module, arguments in modules.items()
    ]


DEPLOY = "serverkit.core.deploy"


@pytest.fixture(scope="module")
def host(testbed_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaybookHost]:
    found = host_for_playbooks(testbed_server, tmp_path_factory.mktemp("play"))
    templates = found.work / "templates"
    templates.mkdir()
    for name, template in TEMPLATES.items():
        (templates / f"{name}.yaml").write_text(yaml.safe_dump(template, sort_keys=False), encoding="utf-8")
    (templates / "broken.yaml").write_text("name: Broken\ncompose: [\n", encoding="utf-8")
    found.clean()
    found.keep_nginx()
    # As the role nginx does before a domain task.
    found.sh("rm -f /etc/nginx/sites-enabled/default && systemctl reload nginx")
    yield found
    found.restore_nginx()
    found.clean()
    found.disconnect()


@pytest.fixture(scope="module")
def evidence(host: PlaybookHost, cluster: Cluster) -> Evidence:
    """Run everything, and gather what was left behind."""
    found = Evidence()
    with watched(found, host):
        run_everything(found, host, found.give, cluster)
    places = ("var/serverkit", "etc/serverkit", "etc/nginx", "root/.ansible", "tmp", "var/tmp", "var/log/nginx")
    collect_files(found, host, *places)
    for listed in (host.sh("docker image ls -q") or "").split():
        found.host[f"history of {listed}"] = host.sh(f"docker history --no-trunc {listed}")
    return found


def run_everything(found: Evidence, host: PlaybookHost, give: Any, cluster: Cluster) -> None:
    running, bad = [*good(give), *failing(give)], refused(give)
    run_tasks(found, host, "everything in check mode", [*running, *bad[:2]], check=True)
    run_tasks(found, host, "everything", [*running, *bad])
    plain = {"environment": {"ANSIBLE_PIPELINING": "0"}}
    run_tasks(found, host, "failures without pipelining", [*failing(give)[:1], *bad[1:3]], **plain)
    run_tasks(found, host, "updates", rotations(host, give))
    password = give("of PostgreSQL", "p@/:?#%&= ü'")
    dsn = cluster.dsn(password, user="secrets_test")
    right = dsn.partition("://")[2].partition("@")[0].partition(":")[2]
    wrong = give("wrong", "-")
    dsns = {
        "wrong password": dsn.replace(right, wrong),
        "no server": re.sub(r":\d+/", ":1/", dsn),
        "raw password": dsn.replace(right, password),
        "no DSN": f"{wrong} {password}",
        "words": f"host=127.0.0.1 user=x password='{password.replace(chr(39), '')}' nonsense",
    }
    with host.forwarded(cluster.port):
        tasks = registry(give, dsns)
        run_tasks(found, host, "registries in check mode", tasks[:3], check=True)
        run_tasks(found, host, "registries", tasks)
        deploy(found, host, give, dsn)
        settled = registry(give, {"right": dsn})[:2]
        for task in settled:
            task["vars"]["expected"] = []
        run_tasks(found, host, "a registry that works", settled)
    found.host["registry in PostgreSQL"] = subprocess.run(
        [
            f"{cluster.binaries}/pg_dump",
            "-h",
            cluster.sockets,
            "-p",
            str(cluster.port),
            "-U",
            "postgres",
            dsn.rpartition("/")[2],
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def rotations(host: PlaybookHost, give: Any) -> list[dict[str, Any]]:
    """Return an update that fails and whose previous release fails as well, and a removal whose hook fails."""

    def rotating(mode: str) -> dict[str, Any]:
        secrets = {"ADMIN_PASSWORD": give(f"rotating to {mode}", PRINTABLE), "API_TOKEN": give(f"{mode} token", "\n'")}
        return {"name": "rotating", "template": "vault", "secrets": secrets, "variables": {"MODE": mode}}

    leaving = {"name": "leaving", "template": "parting", "secrets": {"ADMIN_PASSWORD": give("leaving", PRINTABLE)}}
    rm = {"name": "spoil", "ansible.builtin.command": "rm /var/lib/docker/volumes/rotating_data/_data/fine"}
    touch = {"name": "mend", "ansible.builtin.command": "touch /var/lib/docker/volumes/rotating_data/_data/fine"}
    return [
        app("make a volume", {**rotating("serve")}),
        {**touch, "vars": {"expected": []}},
        app("a release that needs it", rotating("needy")),
        {**rm, "vars": {"expected": []}},
        app("an update that fails", {**rotating("tell"), "health_timeout": 4}, "Going back failed as well"),
        app("one that is to leave", leaving),
        app("leaving", {"name": "leaving", "state": "absent"}, "run the hook"),
    ]


def deploy(found: Evidence, host: PlaybookHost, give: Any, dsn: str) -> None:
    """Run the playbook: all at once, one app failing, then an inventory that is refused."""
    apps: list[dict[str, Any]] = [
        {
            "name": "printable",
            "template": "vault",
            "secrets": {"ADMIN_PASSWORD": give("deployed", PRINTABLE), "API_TOKEN": give("deployed token", "  '")},
            "variables": {"MODE": "serve"},
            "domains": [{"name": "vault.test", "dns_check": "off"}],
        },
        {
            "name": "teller",
            "template": "vault",
            "secrets": {"ADMIN_PASSWORD": give("deployed badly", PRINTABLE)},
            "variables": {"MODE": "tell", "API_TOKEN": give("deployed badly token", "\n'\"")},
            "health_timeout": 3,
        },
        {
            "name": "gone",
            "state": "absent",
            "template": "vault",
            "secrets": {"ADMIN_PASSWORD": give("deployed away", "'\"")},
        },
    ]
    paths = {"serverkit_template_paths": [str(host.work / "templates")]}
    how: dict[str, Any] = {"verbose": True, "tags": "base,app"}  # the other roles are given no secrets
    variables = {"serverkit_apps": apps, "serverkit_registry_dsn": dsn, "serverkit_registry_host": "web1", **paths}
    check = found.add("deploy in check mode", host.playbook(DEPLOY, variables, check=True, **how))
    assert check.returncode == 0, check.output[-3000:]
    run = found.add("deploy", host.playbook(DEPLOY, variables, **how))
    assert "1 of 3 apps failed" in run.message("serverkit.core.app : Converge the apps")
    for name, secrets in {
        "a list": [give("inventory list", "'\"")],
        "a word": give("inventory word", "-"),
        "a nested list": {"ADMIN_PASSWORD": [give("inventory nested", "'\"")]},
    }.items():
        bad = [{"name": "bad", "template": "vault", "secrets": secrets}]
        run = found.add(
            f"deploy with {name}",
            host.playbook(DEPLOY, {**variables, "serverkit_apps": bad}, **how),
        )
        assert run.returncode != 0


def test_no_secret_is_in_what_ansible_shows_and_logs(evidence: Evidence) -> None:
    assert evidence.shown() == {}


def test_no_secret_is_in_the_logs_and_command_lines_of_the_host(evidence: Evidence) -> None:
    assert evidence.logged() == {}


def test_no_secret_is_in_a_file_but_where_it_belongs(evidence: Evidence, host: PlaybookHost) -> None:
    found = evidence.stored()
    del found["/etc/serverkit/config.yaml"]  # the DSN that the inventory has
    # A file of the template in which it put a secret: its directory is closed to everybody but root.
    delivered = {name for name in found if re.fullmatch(r"/var/serverkit/apps/foreign/files/\w+/web.conf", name)}
    assert {name: lines for name, lines in found.items() if name not in delivered} == {}
    assert len(delivered) == 1
    assert host.sh("stat -c %a /var/serverkit/apps/foreign/files /etc/serverkit/config.yaml") == "700\n600"


def test_the_secrets_are_where_they_belong_and_closed(evidence: Evidence) -> None:
    assert len(evidence.environments) >= 5
    assert set(evidence.environments.values()) == {0o600}
    assert any(name.startswith("GENERATED of") for name in evidence.scanner.names)
