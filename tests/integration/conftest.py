# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests against real programs of this host. Each file starts what it needs, and is skipped where that is not there."""

from __future__ import annotations

import importlib.util
import pathlib
import sys
from collections.abc import Iterator

import pytest

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


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "real: runs against real programs of this host, such as Docker or PostgreSQL")


@pytest.fixture(scope="module")
def machine() -> app_host.AppHost:
    """The server that `SERVERKIT_TEST_HOST` names, with this checkout's modules on it."""
    found = app_host.host_of_environment()
    if found is None:
        pytest.skip("SERVERKIT_TEST_HOST does not name a host")
    return found


@pytest.fixture
def host(machine: app_host.AppHost) -> Iterator[app_host.AppHost]:
    """That server, without any app."""
    machine.clean()
    yield machine
    machine.clean()


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgresql_server.Cluster]:
    """A PostgreSQL of our own."""
    with postgresql_server.running() as started:
        yield started
