# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program by which the role `mongodb` makes an administrator, with a driver that plays the server."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import sys
import types
from typing import Any

import pytest

PROGRAM = pathlib.Path(__file__).resolve().parents[3] / "roles/mongodb/files/administrator.py"
PASSWORD = "right-horse"


class PyMongoError(Exception):
    """What all errors of the driver are."""


class OperationFailure(PyMongoError):
    """An error that the server reports."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class Server:
    """A server that demands logins once it has a user, as with --auth."""

    def __init__(self, *databases: str, users: tuple[str, ...] = (), auth: bool = True) -> None:
        self.databases = databases
        self.users = dict.fromkeys(users, "else")
        self.auth = auth
        self.down = False


class Client:
    """One connection to it."""

    server: Server

    def __init__(self, _host: str, port: int, *, username: str = "", password: str = "", **options: Any) -> None:
        assert port == 27017
        assert options["directConnection"]
        self.login = (username, password)
        self.admin = self

    def _come_in(self, unauthorized: bool) -> None:
        if self.server.down:
            raise PyMongoError("no server")
        user, password = self.login
        if user and self.server.users.get(user) != password:
            raise OperationFailure(18)
        if not user and unauthorized:
            raise OperationFailure(13)

    def list_database_names(self) -> list[str]:
        self._come_in(self.server.auth)
        return ["admin", "config", "local", *self.server.databases]

    def command(self, name: str, *arguments: Any, pwd: str = "", roles: Any = None) -> None:
        if name == "ping":
            self._come_in(unauthorized=False)
            return
        assert name == "createUser"
        assert roles == [{"role": "root", "db": "admin"}]
        self._come_in(bool(self.server.users))
        self.server.users[arguments[0]] = pwd


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> types.ModuleType:
    driver, errors = types.ModuleType("pymongo"), types.ModuleType("pymongo.errors")
    driver.MongoClient = Client  # type: ignore[attr-defined]
    errors.OperationFailure = OperationFailure  # type: ignore[attr-defined]
    errors.PyMongoError = PyMongoError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pymongo", driver)
    monkeypatch.setitem(sys.modules, "pymongo.errors", errors)
    spec = importlib.util.spec_from_file_location("administrator", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    record = tmp_path / "mongodb.json"
    record.write_text(json.dumps({"user": "serverkit", "password": PASSWORD}), encoding="utf-8")
    monkeypatch.setattr(module, "RECORD", record)
    return module


def run(program: types.ModuleType, command: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "server", server, raising=False)
    monkeypatch.setattr(sys, "argv", ["-", command, "27017"])
    program.main()


def test_it_is_made_once(
    program: types.ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server()
    run(program, "ensure", server, monkeypatch)
    assert server.users == {"serverkit": PASSWORD}
    run(program, "ensure", server, monkeypatch)
    assert capsys.readouterr().out == "created\nkept\n"


def test_users_of_others_are_not_overruled(program: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(users=("somebody",))
    with pytest.raises(SystemExit) as refused:
        run(program, "ensure", server, monkeypatch)
    assert "MongoDB has users already" in str(refused.value)
    assert PASSWORD not in str(refused.value)
    assert server.users == {"somebody": "else"}


@pytest.mark.parametrize(
    ("server", "said"),
    [
        (Server(auth=False), ""),
        (Server("shop", "blog", auth=False), "it holds the databases blog shop\n"),
        (Server(users=("somebody",)), "it demands a login\n"),
    ],
)
def test_signs_of_use_are_told(
    program: types.ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    server: Server,
    said: str,
) -> None:
    run(program, "look", server, monkeypatch)
    assert capsys.readouterr().out == said


@pytest.mark.parametrize("command", ["look", "ensure"])
def test_a_server_that_is_down_is_said(
    program: types.ModuleType, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    server = Server()
    server.down = True
    with pytest.raises(SystemExit, match="no server"):
        run(program, command, server, monkeypatch)
