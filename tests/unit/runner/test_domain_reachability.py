# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is concluded from the answers of a name's addresses."""

from __future__ import annotations

import errno
import os
import pathlib
from collections.abc import Mapping
from types import SimpleNamespace
from typing import cast

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import network, web
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._plan.domain import Names
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_reachability import Reachability
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_task import Snapshot, Task
from ansible_collections.serverkit.core.plugins.module_utils._values.domain import Wanted
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import Layout
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DomainRecord

OURS, THEIRS, DEAD, OURS6, NO_ROUTE, CDN = (
    "192.0.2.1",
    "192.0.2.2",
    "192.0.2.3",
    "2001:db8::1",
    "2001:db8::2",
    "192.0.2.4",
)
RESOLVED: Mapping[str, tuple[str, ...] | str] = {
    "ours.example": (OURS,),
    "both.example": (OURS, OURS6),
    "half.example": (OURS, THEIRS),
    "theirs.example": (THEIRS,),
    "dead.example": (DEAD,),
    "six.example": (OURS, NO_ROUTE),
    "onlysix.example": (NO_ROUTE,),
    "cdn.example": (CDN,),
    "none.example": "Name or service not known",
}


class Net:
    """The answers of the world."""

    def __init__(self, webroot: pathlib.Path) -> None:
        self.webroot = webroot
        self.asked: list[tuple[str, str]] = []

    def get(self, address: str, port: int, path: str, host_header: str, timeout: float) -> web.Response:
        self.asked.append((address, host_header))
        if address == DEAD:
            raise HostError("get", "no answer in time") from TimeoutError()
        if address == NO_ROUTE:
            raise HostError("get", os.strerror(errno.ENETUNREACH)) from OSError(errno.ENETUNREACH, "x")
        if address == CDN:
            return web.Response(301, {"location": f"https://{host_header}{path}"}, b"")
        if address == THEIRS:
            return web.Response(200, {}, b"<html>parked</html>")
        return self.served(path)

    def get_over_tls(self, address: str, port: int, path: str, name: str, timeout: float) -> web.Response:
        assert (address, port) == (CDN, 443)
        return self.served(path)

    def served(self, path: str) -> web.Response:
        return web.Response(200, {}, (self.webroot / path.removeprefix("/")).read_bytes())


@pytest.fixture
def net(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Net:
    found = Net(tmp_path / "webroot")
    monkeypatch.setattr(web, "get", found.get)
    monkeypatch.setattr(web, "get_over_tls", found.get_over_tls)
    monkeypatch.setattr(network, "resolve", lambda names, _timeout: {name: RESOLVED[name] for name in names})
    monkeypatch.setattr(network, "is_own", lambda address: address in (OURS, OURS6))
    monkeypatch.setattr(network, "outward_addresses", lambda: (OURS,))
    return found


def reachability(net: Net, *known: DomainRecord) -> Reachability:
    task = cast(Task, SimpleNamespace(layout=Layout(webroot=str(net.webroot))))
    return Reachability(task, Snapshot({"blog": Names(known)}))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("ours.example", ""),
        ("both.example", ""),
        ("six.example", ""),
        ("cdn.example", ""),
        ("half.example", f"its A record leads to {THEIRS}, which answers with another page"),
        ("theirs.example", "is not this nginx"),
        ("dead.example", f"its A record leads to {DEAD}, which does not answer: no answer in time"),
        ("onlysix.example", f"its AAAA record leads to {NO_ROUTE}, which cannot be tried from this host"),
        ("none.example", "none.example does not resolve (Name or service not known)"),
    ],
)
def test_probe(net: Net, name: str, problem: str) -> None:
    found = reachability(net).problems({name: "probe"}, [])
    assert problem in str(found.get(name, ""))
    assert bool(found) is bool(problem)
    assert [path for path in net.webroot.rglob("*") if path.is_file()] == [], "no token stays behind"


def test_a_name_that_other_hosts_serve_too_needs_one_address_of_ours(net: Net) -> None:
    assert not reachability(net).problems({"half.example": "probe"}, ["half.example"])
    assert reachability(net).problems({"theirs.example": "probe"}, ["theirs.example"])


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("ours.example", ""),
        ("both.example", ""),
        ("half.example", f"its A record {THEIRS} is not an address of this host. This host's own: {OURS}"),
        ("onlysix.example", f"its AAAA record {NO_ROUTE} is not an address of this host"),
        ("none.example", "does not resolve"),
    ],
)
def test_records(net: Net, name: str, problem: str) -> None:
    found = reachability(net).problems({name: "records"}, [])
    assert problem in str(found.get(name, ""))
    assert bool(found) is bool(problem)
    assert net.asked == []
    assert not net.webroot.exists()


def test_what_is_not_asked_about(net: Net) -> None:
    found = reachability(net, DomainRecord("ours.example", "blog", "ours.example"))
    wanted = Wanted("domain", "blog", domain="ours.example", aliases=("*.ours.example", "dead.example"))
    assert found.new_names(wanted) == ["dead.example"]
    assert found.new_names(Wanted("domain", "blog", domain="dead.example", dns_check="off")) == []
    assert found.new_names(Wanted("private_url", "blog")) == []
    assert found.problems({"dead.example": "off", "*.ours.example": "probe"}, []) == {}
    assert found.resolves_to("dead.example") is None


def test_a_token_that_cannot_be_written_is_an_error(net: Net) -> None:
    net.webroot.parent.mkdir(exist_ok=True)
    net.webroot.write_text("a file in the way")
    with pytest.raises(HostError, match="webroot"):
        reachability(net).problems({"ours.example": "probe"}, [])
