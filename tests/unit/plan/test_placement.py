# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the parts of a backup set go: under their own name, as a copy, in a drill."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, HostError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan import placement
from ansible_collections.serverkit.core.plugins.module_utils._plan.placement import Place
from ansible_collections.serverkit.core.plugins.module_utils._values.app import Release
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import DatabaseDump, StoredFile
from ansible_collections.serverkit.core.plugins.module_utils._values.links import ServerRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.ports import PortRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink
from ansible_collections.serverkit.core.plugins.module_utils._values.template import (
    DatabaseUse,
    Health,
    Published,
    ServiceFacts,
)

MAIN = Published("web", "127.0.0.1", 8001, "tcp", 80, "HTTP_PORT")
DNS = [Published("dns", "", 53, protocol, 53, "DNS") for protocol in ("tcp", "udp")]
FIXED = Published("web", "", 9000, "tcp", 9000, "fixed:9000/tcp")
RELEASE = Release(
    template="shop",
    version="1",
    publish="loopback",
    services={"web": ServiceFacts("nginx", container_name="the-shop"), "dns": ServiceFacts("dns")},
    published=(MAIN, *DNS, FIXED),
    main=MAIN,
    health=Health("http"),
    probe="http",
    hooks={},
    compose_key="k",
    compose_text="t",
)
SERVER = "mysql:///run/mysqld/mysqld.sock"


def place(name: str = "shop", *, drill: bool = False) -> Place:
    return Place("shop", name, "/apps/shop", f"/apps/{name}", drill)


def link(name: str = "mariadb", **fields: Any) -> DatabaseLink:
    values: dict[str, Any] = {
        "app": "shop",
        "engine": "mariadb",
        "server": SERVER,
        "database": "shop",
        "user": "shop",
        "privileges": "owner",
        "host": "host.docker.internal",
        "port": 3306,
    }
    return DatabaseLink(name=name, **{**values, **fields})


def dump(name: str, database: str = "shop") -> DatabaseDump:
    file = StoredFile(f"mysql/{name}.sql.zst", 1, 1, "")
    return DatabaseDump(name, "mariadb", "MariaDB", SERVER, database, "shop", "owner", file)


def asked(name: str = "shop", *, drill: bool = False, leases: dict[str, str] | None = None) -> list[tuple[str, Any]]:
    requests = placement.wanted_ports(RELEASE, leases or {}, place(name, drill=drill))
    assert {request.owner for request in requests} <= {name}
    return [(request.name, (request.port, request.protocol)) for request in requests]


def test_an_app_asks_for_the_ports_that_it_had_and_for_those_that_were_reserved_beside_its_template() -> None:
    wanted = asked(leases={"HTTP_PORT": "8001/tcp", "spare": "8100/udp", "damaged": "x"})
    assert wanted == [
        ("DNS", (53, "both")),
        ("HTTP_PORT", (8001, "tcp")),
        ("fixed:9000/tcp", (9000, "tcp")),
        ("spare", (8100, "udp")),
    ]


def test_a_copy_does_not_take_what_was_reserved_by_hand_and_a_drill_has_its_main_port_only() -> None:
    assert dict(asked("copy", leases={"spare": "8100/udp"})).keys() == {"DNS", "HTTP_PORT", "fixed:9000/tcp"}
    assert asked("shop-drill", drill=True) == [("HTTP_PORT", (8001, "tcp"))]


@pytest.mark.parametrize(("port", "start"), [(8500, 8500), (80, 8000), (60001, 8000)])
def test_where_a_port_is_taken_the_next_one_is_asked_for(port: int, start: int) -> None:
    request = placement.another(PortRequest("shop", "HTTP_PORT", port=port))
    assert (request.port, request.start) == (None, start)
    assert placement.exactly(request, 8123).port == 8123


def test_the_description_follows_the_ports() -> None:
    ports = placement.moved_ports(RELEASE, {"HTTP_PORT": 8002, "DNS": 8053, "fixed:9000/tcp": 9000}, place())
    assert ports == {(8001, "tcp"): 8002, (53, "tcp"): 8053, (53, "udp"): 8053, (9000, "tcp"): 9000}
    made = placement.release(RELEASE, ports, place(), "key", "text")
    assert [each.port for each in made.published] == [8002, 8053, 8053, 9000]
    assert made.main is not None
    assert (made.main.port, made.compose_key, made.compose_text) == (8002, "key", "text")
    assert made.services["web"].container_name == "the-shop"


def test_a_drill_publishes_its_main_port_on_loopback_and_a_copy_has_no_container_names() -> None:
    made = placement.release(RELEASE, {(8001, "tcp"): 8007}, place("shop-drill", drill=True), "", "")
    assert [(each.port, each.host_ip) for each in made.published] == [(8007, "127.0.0.1")]
    assert made.services["web"].container_name == ""


def test_an_app_keeps_its_links_and_a_copy_gets_databases_and_users_of_its_own() -> None:
    rows = [link(), link("audit", user="shop_audit", privileges="readonly"), link("reports", database="shop_reports")]
    kept = placement.placed_links(rows, place())
    assert sorted(rows, key=lambda row: row.name) == [each.row for each in kept]
    copied = {each.row.name: each.row for each in placement.placed_links(rows, place("copy"))}
    assert {row.app for row in copied.values()} == {"copy"}
    # What they shared, they share.
    assert copied["audit"].database == copied["mariadb"].database == "copy"
    assert copied["reports"].database == "copy_reports"
    assert (copied["audit"].user, copied["audit"].privileges) == ("copy_audit", "readonly")
    assert copied["reports"].user == copied["mariadb"].user == "copy"


def test_what_was_unlinked_is_not_linked_again() -> None:
    assert placement.placed_links([link(options={"state": "unlinked"})], place()) == ()


def test_a_server_in_a_container_of_the_app_comes_with_its_volumes() -> None:
    own = link(server="mysql:///shop/db:3306", host="db")
    assert [each.carried for each in placement.placed_links([own], place())] == [True]
    copied = placement.placed_links([own], place("copy"))[0]
    assert (copied.carried, copied.row.server, copied.row.database) == (True, "mysql:///copy/db:3306", "shop")
    assert placement.loads([copied], [dump("mariadb")]) == ()
    environment = {"SECRET": "x", "SERVERKIT_LINK_MARIADB_PASSWORD": "p", "SERVERKIT_LINK_CACHE_PASSWORD": "q"}
    wanted = {"SECRET": "x", "SERVERKIT_LINK_MARIADB_PASSWORD": "p"}
    assert placement.environment(environment, [copied]) == wanted
    # An app that is called as a directory of sockets is none.
    assert not placement.placed_links([link(app="run")], Place("run", "run", "/apps/run", "/apps/run"))[0].carried


def test_a_server_elsewhere_needs_its_administrator() -> None:
    given = ServerRequest(host="db.example", user="admin", password="x")
    assert placement.server_for(link(), {}) == ServerRequest()
    assert placement.server_for(link(), {"mariadb": given}) == given
    for server, options in (("mysql://db.example:3306", {}), ("mysql:///other/db:3306", {"network": "other_default"})):
        with pytest.raises(InputError, match="no administrator"):
            placement.server_for(link(server=server, options=options), {})


def test_a_drill_needs_a_server_of_this_host() -> None:
    placement.check_reach("mariadb", ServerRequest())
    placement.check_reach("mariadb", ServerRequest(host="127.0.0.1", user="admin"))
    with pytest.raises(ConflictError, match="reaches no other host"):
        placement.check_reach("mariadb", ServerRequest(host="db.example", user="admin"))


def test_each_database_is_loaded_once_through_the_link_that_owns_it() -> None:
    rows = [link("audit", user="shop_audit", privileges="readonly"), link()]
    links = placement.placed_links(rows, place())
    found = placement.loads(links, [dump("audit"), dump("mariadb"), dump("gone", "other")])
    assert [(each.row.name, loaded.link) for each, loaded in found] == [("mariadb", "mariadb")]


def test_databases_that_the_template_wrote_into_the_compose_file_are_known() -> None:
    use = DatabaseUse(given={"name": "DB_NAME", "password": "DB_PASSWORD"})
    assert placement.renamed([link()], place("copy"), use) == {"shop": "copy"}
    assert placement.renamed([link()], place(), use) == {}
    assert placement.renamed([link()], place("copy"), DatabaseUse(variables={"name": "DB_NAME"})) == {}
    assert placement.renamed([link()], place("copy"), None) == {}


def test_variables_follow_ports_and_databases() -> None:
    use = DatabaseUse(given={"name": "DB_NAME"})
    given_values = {"HTTP_PORT": "8001", "DNS": "somewhere", "DB_NAME": "shop", "TITLE": "shop"}
    release = replace(RELEASE, database=use)
    made = placement.moved_environment(given_values, release, {(8001, "tcp"): 8002}, {"shop": "copy"})
    assert made == {"HTTP_PORT": "8002", "DNS": "somewhere", "DB_NAME": "copy", "TITLE": "shop"}


def test_a_link_of_a_newer_manifest_is_refused() -> None:
    assert placement.link_row({**vars(link()), "services": ["web"]}).services == ("web",)
    with pytest.raises(InputError, match="does not understand"):
        placement.link_row({**vars(link()), "colour": "red"})
    with pytest.raises(InputError):
        placement.link_row({**vars(link()), "engine": "oracle"})


def test_rows_are_compared_but_those_of_tables_that_were_moving() -> None:
    dumped = replace(dump("mariadb"), rows={"posts": 3, "log": 10, "empty": 0}, moving=("log",))
    placement.check_rows("load it", dumped, {"posts": 3, "log": 12, "empty": 0})
    for found, told in (
        ({"posts": 2, "empty": 0}, "posts has 2, and had 3"),
        ({"empty": 0}, "posts has no, and had 3"),
        # A table without rows is missing all the same.
        ({"posts": 3}, "empty has no, and had 0"),
        ({"posts": 3, "empty": 0, "extra": 0}, "extra has 0, and had no"),
    ):
        with pytest.raises(HostError, match=f"Could not load it: .*: {told}. Use another set"):
            placement.check_rows("load it", dumped, found)


def test_a_database_that_has_something_in_it_is_not_loaded_over() -> None:
    placement.check_empty(link(), {})
    for engine in ("redis", "mongodb"):
        placement.check_empty(link(engine=engine), {"keys": 0})
    for engine, rows in (("mariadb", {"posts": 0}), ("postgresql", {"public.posts": 3}), ("redis", {"keys": 2})):
        with pytest.raises(ConflictError, match="there is a database shop on"):
            placement.check_empty(link(engine=engine), rows)


def test_a_dump_of_a_database_that_was_not_linked_any_more_is_told() -> None:
    rows = [link(), link("old", database="old", user="old", options={"state": "unlinked"})]
    links = placement.placed_links(rows, place())
    dumps = [dump("mariadb"), dump("old", "old")]
    assert [load.file.path for _link, load in placement.loads(links, dumps)] == ["mysql/mariadb.sql.zst"]
    assert placement.unlinked_dumps(links, dumps) == ("old",)
