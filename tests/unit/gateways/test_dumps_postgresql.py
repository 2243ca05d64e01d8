# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of PostgreSQL's programs are run, and how they log in; a real server is in tests/integration."""

from __future__ import annotations

import pathlib
import stat

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.databases.postgresql import Postgresql
from ansible_collections.serverkit.core.plugins.module_utils._gateways.dumps import postgresql_programs
from ansible_collections.serverkit.core.plugins.module_utils._values.database import Credentials, DatabaseTls, Endpoint

PASSWORD = "a:b\\c d"


@pytest.mark.parametrize(
    ("versions", "least", "chosen"), [((13, 15, 17), 15, 15), ((13, 16, 17), 15, 16), ((15,), 13, 15)]
)
def test_takes_the_oldest_version_that_will_do(versions: tuple[int, ...], least: int, chosen: int) -> None:
    assert postgresql_programs.choose(dict.fromkeys(versions, "/bin"), least, least) == (chosen, "/bin")


def test_names_the_package_that_is_missing() -> None:
    with pytest.raises(HostError, match=r"not installed on this host\. Install postgresql-client-17"):
        postgresql_programs.choose({}, 17, 17)
    with pytest.raises(HostError, match=r"of version 13, 15, and of 17 .* Install postgresql-client-17; packages"):
        postgresql_programs.choose({15: "", 13: ""}, 17, 17)


def test_finds_the_versions_of_a_host(tmp_path: pathlib.Path) -> None:
    assert postgresql_programs.installed(str(tmp_path / "none")) == {}
    for name in ("15", "17", "notes"):
        (tmp_path / name / "bin").mkdir(parents=True)
    (tmp_path / "17/bin/pg_dump").touch(0o755)
    (tmp_path / "15/bin/psql").touch(0o755)
    assert postgresql_programs.installed(str(tmp_path)) == {17: str(tmp_path / "17/bin")}


def test_logs_in_with_a_password_that_nobody_sees(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql_programs, "installed", lambda: {15: "/pg/15/bin"})
    endpoint = Endpoint("postgresql", "db.example", 5433, tls=DatabaseTls("verify-full", ca="/ca.pem"))
    engine = Postgresql(endpoint, Credentials("shop", PASSWORD))
    program = postgresql_programs.client(engine, 15, 0, str(tmp_path)).program("pg_dump", "--dbname=shop")
    login = ("--no-password", "--host", "db.example", "--port", "5433", "--username", "shop")
    assert program.argv == ("/pg/15/bin/pg_dump", *login, "--dbname=shop")
    assert program.user == ""
    assert program.environment == {
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/ca.pem",
        "PGCONNECT_TIMEOUT": "10",
        "PGAPPNAME": "serverkit.core",
        "PGPASSFILE": str(tmp_path / "postgresql.pass"),
    }
    file = tmp_path / "postgresql.pass"
    assert file.read_text() == "*:*:*:*:a\\:b\\\\c d\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_logs_in_as_the_servers_own_account(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql_programs, "installed", lambda: {15: "/pg/15/bin"})
    engine = Postgresql(Endpoint("postgresql", socket="/nowhere"), None)
    program = postgresql_programs.client(engine, 15, 0, str(tmp_path)).program("pg_restore")
    assert program.argv[1:] == ("--no-password", "--host", "/nowhere", "--port", "5432", "--username", "postgres")
    assert program.user == "postgres"
    assert "PGPASSFILE" not in program.environment


def test_runs_the_programs_of_a_servers_container(tmp_path: pathlib.Path) -> None:
    engine = Postgresql(Endpoint("postgresql", "172.18.0.2", container="abc"), Credentials("shop", PASSWORD))
    client = postgresql_programs.client(engine, 17, 0, str(tmp_path))
    prefix = ("docker", "exec", "--interactive", "--env", "PGPASSWORD", "abc", "pg_dump")
    login = ("--no-password", "--host", "127.0.0.1", "--port", "5432", "--username", "shop")
    assert client.program("pg_dump", "x").argv == (*prefix, *login, "x")
    assert client.program("pg_dump", "x", login=False).argv == (*prefix, "x")
    assert client.program("pg_dump").environment == {"PGPASSWORD": PASSWORD}
    assert PASSWORD not in repr(client.program("pg_dump"))
    assert list(tmp_path.iterdir()) == []
