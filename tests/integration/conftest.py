# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests against real programs of this host. Each file starts what it needs.

Some are skipped, and others fail, where a program is not there. `make integration` brings all of them, and counts a
test that was skipped as one that has failed.

Files that only use a server of the test bed are marked `testbed`: with pytest-xdist (`-n`), any process that is free
takes the next of them. All others share this machine's ports, so one process runs them in order.
"""

from __future__ import annotations

import importlib.util
import os
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Helpers that the tests here share are modules of this directory.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import app_host
import postgresql_server

# The unit tests' conftest makes the collection importable from any checkout; it is not on this directory's path.
_unit = pathlib.Path(__file__).resolve().parents[1] / "unit" / "conftest.py"
_spec = importlib.util.spec_from_file_location("serverkit_unit_conftest", _unit)
assert _spec is not None
assert _spec.loader is not None
_spec.loader.exec_module(importlib.util.module_from_spec(_spec))


_SERVERS = "SERVERKIT_TEST_HOST"
_ON_TESTBED = re.compile(r"^pytestmark = .*\bpytest\.mark\.testbed\b", re.MULTILINE)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real: runs against real programs of this host, such as Docker or PostgreSQL")
    config.addinivalue_line("markers", "testbed: uses a server of the test bed, and nothing that this host has once")
    worker = getattr(config, "workerinput", {}).get("workerid", "")
    names = os.environ.get(_SERVERS, "").split()
    if worker and names:
        number = int(worker.removeprefix("gw"))
        if number >= len(names):
            raise pytest.UsageError(f"{_SERVERS} names {len(names)} servers, and each process needs one of its own")
        os.environ[_SERVERS] = names[number]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("testbed") and "testbed_server" not in getattr(item, "fixturenames", ()):
            raise pytest.UsageError(f"{item.nodeid} is marked `testbed` and does not use the fixture testbed_server")


class Lanes(LoadScopeScheduling):
    """Which tests stay together in one process, in order."""

    def _split_scope(self, nodeid: str) -> str:
        # The process that hands tests out has not read them, and knows no marks.
        path = self.config.rootpath / nodeid.partition("::")[0]
        return str(path) if _ON_TESTBED.search(path.read_text(encoding="utf-8")) else "this machine"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Lanes:
    return Lanes(config, log)


@pytest.fixture(scope="session")
def testbed_server() -> str:
    """The name of the test bed's server that is ours."""
    names = os.environ.get(_SERVERS, "").split()
    if not names:
        pytest.skip(f"{_SERVERS} does not name a server")
    return names[0]


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest, testbed_server: str) -> app_host.AppHost:
    """That server, with this checkout's modules on it; of the class that the file calls `HOST`."""
    found: app_host.AppHost = getattr(request.module, "HOST", app_host.AppHost)(testbed_server)
    found.prepare()
    found.clean()
    return found


@pytest.fixture
def host(machine: app_host.AppHost) -> Iterator[app_host.AppHost]:
    """That server, without any app."""
    yield machine
    machine.clean()


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgresql_server.Cluster]:
    """A PostgreSQL of our own."""
    with postgresql_server.running() as started:
        yield started
