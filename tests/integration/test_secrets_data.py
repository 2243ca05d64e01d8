# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret of databases and backups is seen anywhere: real runs of links, backups and restores with `-vvvv --diff`.

Each is run in check mode first, and fails in many ways. As in `test_secrets`, all runs happen once, for the whole file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from ansible_collections.serverkit.core.tests.integration.link_host import ENGINES
from ansible_collections.serverkit.core.tests.integration.playbook_host import IMAGE, PlaybookHost
from ansible_collections.serverkit.core.tests.integration.restore_host import RestoreHost
from ansible_collections.serverkit.core.tests.integration.secrets_evidence import (
    PRINTABLE,
    Evidence,
    collect_files,
    run_tasks,
    task,
    tell,
    watched,
)

pytestmark = [pytest.mark.real, pytest.mark.testbed]

SETS = "/var/serverkit/backups/data"
REPOSITORY = "/srv/repository"
LOCAL_REDIS = "/etc/serverkit/databases/redis.json"

# Dies telling all that it was told: `picky` of any database, `faithful` of another password than its first one, and any
# of a page that is bad.
_TELL = tell("TOKEN", "ADMIN_PASSWORD", "DB_PASSWORD", "DATABASE_URL", "REDIS_PASSWORD", "REDIS_URL")
SERVE = (
    'tell() { python3 -c "$$TELL"; exit 3; };'
    ' told="$$DB_PASSWORD$$REDIS_PASSWORD"; [ "$$MODE" != picky ] || [ -z "$$told" ] || tell;'
    ' sum=$$(echo "$$told" | md5sum); [ -z "$$told" ] || [ -e /files/first ] || echo "$$sum" > /files/first;'
    ' [ "$$MODE" != faithful ] || [ -z "$$told" ] || [ "$$sum" = "$$(cat /files/first)" ] || tell;'
    " cd /files; [ -e index.html ] || echo fine > index.html; ! grep -q bad index.html || tell;"
    " exec python3 -m http.server 80"
)
TEMPLATE: dict[str, Any] = {
    "id": "data",
    "name": "Data",
    "version": "1.0",
    "description": "A page from a volume, with secrets of its own",
    "main_service": "web",
    "main_port": "HTTP_PORT",
    "health": {"type": "http", "path": "/", "timeout": 15},
    "variables": [
        {"name": "HTTP_PORT", "type": "port", "default": "8001"},
        {"name": "MODE", "default": "serve"},
        {"name": "ADMIN_PASSWORD", "type": "password", "required": True},
        {"name": "TOKEN", "type": "password"},
    ],
    "compose": {
        "services": {
            "web": {
                "image": IMAGE,
                "init": True,
                "stop_grace_period": "1s",
                "restart": "unless-stopped",
                "command": ["sh", "-c", SERVE],
                "ports": ["${HTTP_PORT}:80"],
                "volumes": ["files:/files"],
                "environment": {
                    "TELL": _TELL,
                    **{name: f"${{{name}}}" for name in ("MODE", "ADMIN_PASSWORD", "TOKEN")},
                },
            },
        },
        "volumes": {"files": {}},
    },
}
# Of the app `data`. The one of Redis belongs to the server that this host describes.
PREFIXES = {"mariadb": "", "postgresql": "REPORTS", "redis": ""}
PORTS = {"mariadb": 3306, "postgresql": 5432, "redis": 6379}


class DataHost(PlaybookHost, RestoreHost):
    """A host with database servers and apps, as Ansible sees it."""

    def prepare(self) -> None:
        super().prepare()
        self.sh("command -v restic >/dev/null || apt-get install -y -qq --no-install-recommends restic >/dev/null")

    def clean(self) -> None:
        super().clean()
        self.sh(f"rm -rf {REPOSITORY} /var/cache/serverkit")


@dataclass
class Administrators:
    """A user that may do everything on each server, and one that may do nothing: by engine, how to log in."""

    strong: dict[str, dict[str, Any]]
    weak: dict[str, dict[str, Any]]

    @classmethod
    def made(cls, host: DataHost, found: Evidence) -> Administrators:
        strong = {engine: _server(engine, "boss", found.give(f"boss of {engine}", PRINTABLE)) for engine in ENGINES}
        weak = {engine: _server(engine, "weak", found.give(f"weak of {engine}", "'\"\\ ü")) for engine in ENGINES}
        for users, rights in ((strong, ("ALL", "SUPERUSER", "+@all")), (weak, ("USAGE", "NOSUPERUSER", "+ping +info"))):
            user, password = users["mariadb"]["user"], users["mariadb"]["password"]
            twice = hashlib.sha1(hashlib.sha1(password.encode()).digest()).hexdigest().upper()
            identified = f"{user}@'%' IDENTIFIED VIA mysql_native_password USING '*{twice}'"
            host.sql("mariadb", f"GRANT {rights[0]} ON *.* TO {identified} WITH GRANT OPTION;")
            literal = users["postgresql"]["password"].replace("'", "''")
            host.sql("postgresql", f"CREATE ROLE {user} LOGIN {rights[1]} PASSWORD '{literal}';")
            once = hashlib.sha256(users["redis"]["password"].encode()).hexdigest()
            host.sql("redis", f"ACL SETUSER {user} on #{once} ~* &* {rights[2]}")
        # What the role of this collection tells of this host's Redis; the other two let root in by the socket.
        local = json.loads(host.sh(f"cat {LOCAL_REDIS}"))
        host.sh(f"cat > {LOCAL_REDIS}", json.dumps({**local, **_login(strong["redis"])}))
        return cls(strong, weak)


def _server(engine: str, user: str, password: str) -> dict[str, Any]:
    return {"host": "localhost", "port": PORTS[engine], "user": user, "password": password}


def _login(server: dict[str, Any]) -> dict[str, Any]:
    return {name: server[name] for name in ("user", "password")}


@pytest.fixture(scope="module")
def host(testbed_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataHost]:
    found = DataHost(testbed_server, tmp_path_factory.mktemp("play"))
    found.prepare()
    found.connect()
    found.clean()
    templates = found.work / "templates"
    templates.mkdir()
    (templates / "data.yaml").write_text(yaml.safe_dump(TEMPLATE, sort_keys=False), encoding="utf-8")
    yield found
    found.clean()
    found.disconnect()


@pytest.fixture(scope="module")
def evidence(host: DataHost) -> Evidence:
    """Run everything, and gather what was left behind."""
    found = Evidence()
    administrators = Administrators.made(host, found)
    with watched(found, host):
        deploy(found, host)
        link(found, host, administrators)
        rotate(found, host, administrators)
        right = back_up(found, host, administrators)
        restore(found, host, administrators, right)
        unlink(found, host, administrators)
    places = ("var/serverkit", "var/cache/serverkit", "var/log", "var/tmp", "etc/serverkit", "etc/redis", "root", "tmp")
    places = (*places, "run/serverkit")
    collect_files(found, host, *places)
    return found


def both(found: Evidence, host: DataHost, name: str, tasks: list[dict[str, Any]]) -> None:
    """Run tasks in check mode and then for good."""
    run_tasks(found, host, f"{name} in check mode", tasks, check=True)
    run_tasks(found, host, name, tasks)


def deploy(found: Evidence, host: DataHost) -> None:
    apps = [
        {
            "name": name,
            "template": "data",
            "secrets": {"ADMIN_PASSWORD": found.give(f"admin of {name}", PRINTABLE)},
            "variables": {"MODE": mode, "HTTP_PORT": port},
        }
        for name, mode, port in (("data", "serve", 8001), ("faithful", "faithful", 8002), ("picky", "picky", 8003))
    ]
    run_tasks(found, host, "deploy", [task("app", "apps", {"apps": apps})])


def links(app: str, servers: dict[str, dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
    """Return links of an app to a database of each engine."""
    made = [{"app": app, "engine": engine, **options} for engine in ENGINES]
    for each in made:
        if PREFIXES[each["engine"]]:
            each["env_prefix"] = PREFIXES[each["engine"]]
        if each["engine"] in servers:
            each["server"] = servers[each["engine"]]
    return made


def link(found: Evidence, host: DataHost, administrators: Administrators) -> None:
    tasks = [*good_links(found, administrators), refused_links(found, administrators)]
    both(found, host, "links", tasks)
    shapes = badly_shaped_links(found)
    run_tasks(found, host, "badly shaped links", shapes)
    plain = {"environment": {"ANSIBLE_PIPELINING": "0"}}
    run_tasks(found, host, "links without pipelining", [tasks[-1], shapes[0]], **plain)


def good_links(found: Evidence, administrators: Administrators) -> list[dict[str, Any]]:
    """Return tasks that link apps, and one whose app does not live with it."""
    several = links("data", {name: administrators.strong[name] for name in ("mariadb", "postgresql")})
    several[0]["password"] = found.give("given", PRINTABLE)
    several += links("faithful", {})
    # A list becomes a text.
    several.append({**links("unborn", {})[0], "password": [found.give("as a list", "'\"")]})
    return [
        task("db_link", "links", {"links": several}),
        task("db_link", "links of the picky", {"links": links("picky", administrators.strong)}, "3 of 3 links failed"),
        task("db_link", "a single link", {**links("single", {})[0], "password": found.give("single", "'\"\\")}),
    ]


def refused_links(found: Evidence, administrators: Administrators) -> dict[str, Any]:
    """Return a task all of whose links are refused, by a server or before it is asked."""

    def secret(name: str) -> str:
        return found.give(name, "'\"\\")

    strong = links("refused", administrators.strong)
    wrong = [{**each["server"], "password": found.give(f"wrong at {each['engine']}", PRINTABLE)} for each in strong]
    inner = {"app": "nosuch", "service": "db", "user": "boss", "password": secret("no such app")}
    refused = [
        *({**each, "server": server} for each, server in zip(strong, wrong, strict=True)),
        *({**each, "server": {**each["server"], "port": 1}, "password": secret("no server")} for each in strong),
        *links("refused", administrators.weak, password=secret("not allowed")),
        {**strong[0], "password": secret("too long") * 5},
        {**strong[0], "password": found.give("NUL", "\0")},
        {**strong[0], "password": secret("no such app's"), "server": inner},
    ]
    return task("db_link", "refused", {"links": refused}, f"{len(refused)} of {len(refused)} links failed")


def badly_shaped_links(found: Evidence) -> list[dict[str, Any]]:
    """Return tasks that Ansible itself refuses."""

    def bad(name: str, expected: str, **options: Any) -> dict[str, Any]:
        merged = {"app": "refused", "engine": "mariadb", "password": found.give(f"{name}, password", PRINTABLE)}
        return task("db_link", name, {**merged, **options}, expected)

    deep = {"host": "localhost", "user": "boss", "pasword": found.give("misspelt, deep", "'\"\\")}
    return [
        task("db_link", "links as a word", {"links": found.give("links as a word", "-")}, "could not parse JSON"),
        bad("another engine", "engine", engine="oracle"),
        bad("a misspelt option", "pasword", pasword=found.give("misspelt", "'\"\\")),
        bad("a misspelt option of the server", "pasword", server=deep),
        bad("a server as a word", "could not parse JSON", server=found.give("server as a word", "-")),
        bad("a server as text", "prot", server=f"host=localhost prot=1 password={found.give('server as text', '-')}"),
    ]


def rotate(found: Evidence, host: DataHost, administrators: Administrators) -> None:
    given = links("data", administrators.strong)[:1]
    given[0]["password"] = found.give("given next", PRINTABLE)
    both(
        found,
        host,
        "rotations",
        [
            task("db_link", "rotated", {"links": links("data", administrators.strong, rotate=True)}),
            task("db_link", "given", {"links": given}),
            task("db_link", "not survived", {"links": links("faithful", {}, rotate=True)}, "3 of 3 links failed"),
        ],
    )


def repository(found: Evidence, name: str, **options: Any) -> dict[str, Any]:
    """Return a repository with secrets of its own."""
    return {
        "url": REPOSITORY,
        "password": found.give(f"password of {name}", PRINTABLE),
        "environment": {"AWS_SECRET_ACCESS_KEY": found.give(f"key of {name}", "/+'"), "AWS_DEFAULT_REGION": "eu"},
        **options,
    }


def far(found: Evidence, name: str) -> dict[str, Any]:
    """Return a repository whose address has a login, and whose server knows nothing of it."""
    return repository(found, name, url=f"rest:http://user:{found.give(f'login of {name}', '%27')}@127.0.0.1:8099/x/")


def back_up(found: Evidence, host: DataHost, administrators: Administrators) -> dict[str, Any]:
    """Make sets and copies of them; returns the repository."""
    right = repository(found, "the repository")

    def refused(name: str, expected: str, wrong: Any) -> dict[str, Any]:
        return task("backup", name, {"app": "data", "max_age": "1h", "repository": wrong}, expected)

    def dumped_by(app: str, server: dict[str, Any], **options: Any) -> dict[str, Any]:
        return {"app": app, "databases": [{"name": name, "server": {**server[name], **options}} for name in ENGINES]}

    listed = {**right, "environment": {"A": [found.give("listed", "'\\")]}}
    lost = dumped_by("data", administrators.strong, password=found.give("wrong for dumps", PRINTABLE))
    tasks = [
        task("backup", "by the socket", {"backups": [{"app": "data"}, {"app": "faithful"}], "repository": right}),
        task("backup", "by users", dumped_by("data", administrators.strong)),
        refused("wrong password", "its password is another one", repository(found, "no repository")),
        refused("no repository", "repository of backups", far(found, "a far repository")),
        task(
            "backup", "lost", {"backups": [lost, dumped_by("faithful", administrators.weak)]}, "2 of 2 backups failed"
        ),
    ]
    shapes = [
        task("backup", "a variable as a list", {"app": "data", "max_age": "1h", "repository": listed}),
        refused("a repository as a word", "could not parse JSON", found.give("repository as a word", "-")),
        refused("no url", "url", {"password": found.give("without url", "'\"\\")}),
        refused("a misspelt option", "pasword", {**right, "pasword": found.give("misspelt for backups", "'\"\\")}),
        refused("a variable of ours", "none that tells", {**right, "environment": {"LD_X": found.give("LD", "'")}}),
    ]
    with web_server(host):
        both(found, host, "backups", tasks)
        run_tasks(found, host, "badly shaped backups", shapes)
    return right


@contextlib.contextmanager
def web_server(host: DataHost) -> Iterator[None]:
    """Run a server that has nothing."""
    host.sh(
        "mkdir -p /srv/nothing; systemd-run --quiet --collect --unit=serverkit-test-web"
        " python3 -m http.server 8099 --bind 127.0.0.1 --directory /srv/nothing"
    )
    try:
        yield
    finally:
        host.sh("systemctl stop serverkit-test-web; rm -rf /srv/nothing")


def restore(found: Evidence, host: DataHost, administrators: Administrators, right: dict[str, Any]) -> None:
    newest = host.sh(f"ls -d {SETS}/2* | sort | tail -1").rpartition("/")[2]

    def by(app: str, **options: Any) -> dict[str, Any]:
        server = administrators.strong
        return {"app": app, "links": [{"name": name, "server": {**server[name], **options}} for name in ENGINES]}

    badly = by("faithful", password=found.give("wrong for restores", PRINTABLE))
    both(
        found,
        host,
        "restores",
        [
            task("restore", "in place", {"restores": [{"app": "data"}, {"app": "faithful"}]}),
            task("restore", "by users", {"restores": [by("data"), badly]}, "1 of 2 restores failed"),
            task("restore", "drill", {"app": "data", "drill": True}),
            task("restore", "discarded", {"app": "data", "state": "discarded"}),
        ],
    )
    # A set whose app tells its secrets and dies, so that its own data comes back.
    host.sh("docker exec data-web-1 sh -c 'echo bad > /files/index.html'")
    bad = str(
        run_tasks(found, host, "a bad set", [task("backup", "bad", {"app": "data"})]).results["bad"]["results"][0][
            "set"
        ]
    )
    host.sh("docker exec data-web-1 sh -c 'echo fine > /files/index.html'")
    # One that is fetched from the repository, and one that is damaged.
    copied = min(json.loads(host.sh(f"cat {SETS}/state.json"))["snapshots"])
    host.sh(f"rm -r {SETS}/{copied}; truncate -s -1 {SETS}/{newest}/mysql/mariadb.sql.zst")
    again = {"app": "data", "set": copied}
    with web_server(host):
        both(
            found,
            host,
            "restores that fail",
            [
                task("restore", "of a bad set", {"app": "data", "set": bad}, "as it was before the restore"),
                task("restore", "of a damaged set", {"app": "data", "set": newest}, "mariadb.sql.zst"),
                task("restore", "unopened", {**again, "repository": repository(found, "no copy")}, "another one"),
                task("restore", "far", {**again, "repository": far(found, "a far copy")}, "copies of backups"),
                task("restore", "fetched", {**again, "repository": right}),
            ],
        )


def unlink(found: Evidence, host: DataHost, administrators: Administrators) -> None:
    gone = links("data", administrators.strong, state="absent", drop=True)
    wrong = [{**each, "server": {**each["server"], "password": found.give("at the end", PRINTABLE)}} for each in gone]
    both(
        found,
        host,
        "unlinking",
        [
            task("db_link", "not let in", {"links": wrong}, "3 of 3 links failed"),
            task("db_link", "unlinked", {"links": links("faithful", {}, state="absent")}),
            task("db_link", "dropped", {"links": gone}),
        ],
    )


def test_no_secret_is_in_what_ansible_shows_and_logs(evidence: Evidence) -> None:
    assert evidence.shown() == {}


def test_no_secret_is_in_the_logs_and_processes_of_the_host(evidence: Evidence) -> None:
    assert "restic" in evidence.host["processes"]
    assert evidence.logged() == {}


def test_no_secret_is_in_a_file_but_where_it_belongs(evidence: Evidence, host: DataHost) -> None:
    found = evidence.stored()
    del found[LOCAL_REDIS]  # the login that the host itself has
    assert found == {}
    assert host.sh(f"stat -c %a {LOCAL_REDIS}") == "600"


def test_the_secrets_are_where_they_belong_and_closed(evidence: Evidence, host: DataHost) -> None:
    assert len(evidence.environments) >= 3
    assert set(evidence.environments.values()) == {0o600}
    assert host.sh(f"find {SETS} {REPOSITORY} ! -type d -perm /077") == ""
    learned = {name.partition(" of ")[0] for name in evidence.scanner.names}
    assert {f"SERVERKIT_LINK_{engine.upper()}_PASSWORD" for engine in ENGINES} <= learned
