# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of bad input: what is asked for or what the host is like, and what each module has to say about it.

A row is wrong in one thing only. Its message names the object, the reason, and what to do where that is not plain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ansible_collections.serverkit.core.tests.integration.app_host import IMAGE

# What is there before: the app `owner`, made of the template `web`, which has port 8001 and the domain owner.test.
OWNER_PORT = 8001
SQUATTED_PORT = 8050  # a process listens there
DOCKER_PORT = 8051  # a stopped container would


@dataclass(frozen=True)
class Row:
    """What is wrong, the item of the module's list, and what its message contains."""

    what: str
    item: dict[str, Any]
    message: tuple[str, ...]


_HEAD = "name: T\nversion: '1'\ndescription: T\n"
_COMPOSE = f"compose:\n  services:\n    web:\n      image: {IMAGE}\n"
TEMPLATES = {
    "bad-yaml": f"{_HEAD}compose: [\n",
    "tab": f"{_HEAD}compose:\n\tservices: {{}}\n",
    "twice": f"{_HEAD}{_COMPOSE}      image: other\n",
    "no-mapping": "- a\n- list\n",
    "type": f"{_HEAD}variables:\n  - {{name: LEVEL, type: pasword}}\n{_COMPOSE}",
    "needed": f"{_HEAD}variables:\n  - {{name: MAIL_HOST, required: true, description: Who sends mail}}\n{_COMPOSE}",
    "message": f"{_HEAD}{_COMPOSE}      command: ['${{X:?say what X is}}']\n",
    "expression": f"{_HEAD}{_COMPOSE}      command: ['${{X']\n",
    "no-image": f"{_HEAD}compose: {{services: {{web: {{command: x}}}}}}\n",
}

_NAME = "an app's name has 1 to 63 characters of a-z, 0-9 and '-'"


def _app(what: str, *message: str, **item: Any) -> Row:
    return Row(what, {"name": "bad", "template": "web", **item}, message)


def _of_template(name: str, *message: str) -> Row:
    return Row(f"template {name}", {"name": f"of-{name}", "template": name}, message)


def _port_of_app(what: str, port: Any, *message: str) -> Row:
    return _app(what, "HTTP_PORT", *message, name=f"port-{port}", variables={"HTTP_PORT": port})


APPS = [
    _app("unknown template", "Could not find the template 'wbe'", "no such file", "Did you mean web?", template="wbe"),
    _app("template outside", "Could not find the template '../web'", name="outside", template="../web"),
    _of_template("bad-yaml", "bad-yaml.yaml", "line 5"),
    _of_template("tab", "tab.yaml", "line 5"),
    _of_template("twice", "twice.yaml", "image"),
    _of_template("no-mapping", "no-mapping.yaml", "mapping"),
    _of_template("type", "type.yaml: variables[0](LEVEL).type: 'pasword' is not one of", "did you mean password?"),
    _of_template("needed", "the app of-needed", "variables.MAIL_HOST: it is required", "(Who sends mail)"),
    _of_template("message", "say what X is", "X"),
    _of_template("expression", "expression.yaml: compose.services.web.command[0]", "write $$"),
    _of_template("no-image", "no-image.yaml: compose.services.web: it has neither image nor build"),
    _app("name with a path", "'../x'", _NAME, name="../x"),
    _app("name with a blank", "'a b'", _NAME, name="a b"),
    _app("empty name", "''", _NAME, name=""),
    _app("name of 300 characters", "a" * 300, _NAME, name="a" * 300),
    _app("name with a newline", r"'x\n'", _NAME, name="x\n"),
    _app("unknown variable", "variables.GREETNG", "did you mean GREETING?", name="v", variables={"GREETNG": "x"}),
]
PORTS_OF_APPS = [
    _port_of_app("0", 0),
    _port_of_app("70000", 70000),
    _port_of_app("abc", "abc"),
    _port_of_app("taken by an app", OWNER_PORT, "reserved for owner/HTTP_PORT", "is free; without an explicit port"),
    _port_of_app("held by a process", SQUATTED_PORT, "python3"),
    _port_of_app("bound by a stopped container", DOCKER_PORT, "squatter"),
]


def _port(what: str, *message: str, **item: Any) -> Row:
    return Row(what, {"name": "http", "owner": "bad", **item}, message)


PORTS = [
    _port("0", "Could not use 0 as port", "from 1 to 65535", port=0),
    _port("70000", "Could not use 70000 as port", "from 1 to 65535", port=70000),
    _port("taken by an app", f"{OWNER_PORT}/tcp", "owner", "is free", name="a", port=OWNER_PORT),
    _port("held by a process", f"{SQUATTED_PORT}/tcp", "python3", "is free", name="b", port=SQUATTED_PORT),
    _port("bound by a stopped container", f"{DOCKER_PORT}/tcp", "squatter", "is free", name="c", port=DOCKER_PORT),
    _port("owner with a path", "'../x' as the owner", owner="../x"),
    _port("owner with a blank", "'a b' as the owner", owner="a b"),
    _port("empty owner", "'' as the owner", owner=""),
    _port("owner of 300 characters", "a" * 300, owner="a" * 300),
    _port("owner with a newline", r"'x\n' as the owner", owner="x\n"),
]


def _domain(what: str, *message: str, **item: Any) -> Row:
    return Row(what, {"name": "bad.test", "app": "other", "port": OWNER_PORT, "dns_check": "off", **item}, message)


_LABELS = ".".join(["a" * 63] * 3 + ["b" * 62])  # 254 characters
DOMAINS = [
    _domain("of another app", "owner.test", "belongs to the app owner", name="owner.test"),
    _domain(
        "alias of another app", "owner.test", "belongs to the app owner", name="alias.test", aliases=["owner.test"]
    ),
    _domain("with ;", "'a;b.test'", name="a;b.test"),
    _domain("with }", "'a}b.test'", name="a}b.test"),
    _domain("with a newline", r"'a.test\n'", name="a.test\n"),
    _domain("with a newline inside", r"'a\n.test'", name="a\n.test"),
    _domain("with 254 characters", "aaaaaaaa", "254 characters", "at most 253", name=_LABELS),
    _domain("with a blank", "'a b.test'", name="a b.test"),
    _domain("empty", "''", name=""),
    _domain("a bad alias", "'c;d.test'", name="ok.test", aliases=["c;d.test"]),
    _domain("a bad slug", "'a/b;}'", name=None, private_url=True, slug="a/b;}"),
    _domain("of an app with a path", "'../x'", _NAME, app="../x"),
    _domain("port 0", "0", name="zero.test", port=0),
    _domain("port 70000", "70000", name="high.test", port=70000),
]

# Refused by Ansible itself, so that there is no result for each item.
SPECIFICATIONS = {
    "serverkit_port": ({"name": "http", "owner": "bad", "port": "abc"}, ("port", "'abc'")),
    "serverkit_domain": ({"name": "bad.test", "app": "other", "port": "abc"}, ("port", "'abc'")),
    "serverkit_app": ({"name": "bad", "template": "web", "state": "upgraded"}, ("state", "upgraded", "restarted")),
}


@dataclass(frozen=True)
class Condition:
    """What is wrong with the host, how to make it so and mend it, and what each module says then.

    A module that is not listed has to do its work all the same.
    """

    what: str
    spoil: str
    mend: str
    messages: dict[str, tuple[str, ...]]
    taken_back: bool = False  # rows were written into the registry, and taken out again


_STORE = "/var/serverkit/serverkit.db"
_NEWER = f"python3 -c \"import sqlite3; sqlite3.connect('{_STORE}').execute('PRAGMA user_version = 99')\""
_ASIDE = f"cp -p {_STORE} /root/registry"
_BACK = f"mv /root/registry {_STORE}"
_FULL = "mount -t tmpfs -o size=256k none /var/serverkit && cp -a /root/kept/. /var/serverkit/"
_FILL = "head -c 1000000 /dev/zero > /var/serverkit/ballast; head -c 1 /dev/zero >> /var/serverkit/ballast; true"


def _everywhere(*message: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(("serverkit_port", "serverkit_app", "serverkit_domain"), message)


_COMPOSE_PLUGIN = "/usr/libexec/docker/cli-plugins"
CONDITIONS = [
    Condition(
        "Docker is not running",
        "systemctl stop docker.socket docker.service",
        "systemctl start docker.socket docker.service",
        {"serverkit_app": ("Cannot connect to the Docker daemon", "systemctl start docker")},
    ),
    Condition(
        "no Compose v2",
        f"mv {_COMPOSE_PLUGIN} {_COMPOSE_PLUGIN}.away",
        f"mv {_COMPOSE_PLUGIN}.away {_COMPOSE_PLUGIN}",
        {"serverkit_app": ("Docker Compose v2 is not installed", "site.yml")},
    ),
    Condition(
        "nginx is missing",
        "mv /usr/sbin/nginx /usr/sbin/nginx.away",
        "mv /usr/sbin/nginx.away /usr/sbin/nginx",
        {"serverkit_domain": ("nginx", "not installed", "site.yml")},
    ),
    Condition(
        "a registry of a newer schema",
        f"{_ASIDE}; {_NEWER}",
        _BACK,
        _everywhere(_STORE, "version 99", "newer serverkit.core"),
    ),
    Condition(
        "a registry that is corrupt",
        f"{_ASIDE}; dd if=/dev/urandom of={_STORE} bs=1 seek=20 count=3000 conv=notrunc status=none",
        _BACK,
        _everywhere(_STORE, "damaged", "Move it away"),
    ),
    Condition(
        "a registry that is cut off", f"{_ASIDE}; truncate -s 50 {_STORE}", _BACK, _everywhere(_STORE, "cut off", "mv ")
    ),
    Condition(
        "a full disk",
        f"cp -a /var/serverkit /root/kept; {_FULL}; {_FILL}",
        "umount /var/serverkit; rm -r /root/kept",
        _everywhere("/var/serverkit", "full"),
        taken_back=True,
    ),
    Condition(
        "a read-only disk",
        "mount --bind /var/serverkit /var/serverkit && mount -o remount,ro,bind /var/serverkit",
        "umount /var/serverkit",
        _everywhere("/var/serverkit", "read-only"),
    ),
    Condition(
        "a read-only configuration of nginx",
        "mount --bind /etc/nginx /etc/nginx && mount -o remount,ro,bind /etc/nginx",
        "umount /etc/nginx",
        {"serverkit_domain": ("/etc/nginx", "ead-only")},
        taken_back=True,
    ),
]
