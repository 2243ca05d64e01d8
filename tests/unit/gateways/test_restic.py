# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What restic says in its versions and to its backends; the real one is in tests/integration/test_restic.py."""

from __future__ import annotations

import json
import os
import pathlib
import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import restic
from ansible_collections.serverkit.core.plugins.module_utils._values.repository import Repository
from ansible_collections.serverkit.core.tests.unit.fakes import FakeCommands

REPOSITORY = Repository("s3:https://s3.example.com/bucket", "the pass-word", {"AWS_SECRET_ACCESS_KEY": "key-of-aws"})
CONFIG = Completed(0, json.dumps({"id": "0123", "version": 2}), "")
LOCKED = "unable to create lock in backend: repository is already locked by PID 3 on {host} by root (UID 0, GID 0)"


def opened(commands: FakeCommands, directory: pathlib.Path, **options: Any) -> AbstractContextManager[restic.Restic]:
    return restic.opened(commands, REPOSITORY, known=str(directory), runtime=str(directory / "run"), **options)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (10, "Fatal: repository does not exist: unable to open config file"),
        (1, "Fatal: unable to open config file: stat /x/config: no such file or directory"),
        (1, "Fatal: unable to open config file: file does not exist"),
        (1, "Fatal: unable to open config file: Stat: The specified key does not exist."),
        (1, "Fatal: unable to open config file: Stat: The specified bucket does not exist"),
        (1, "Fatal: unable to open config file: <config/> does not exist"),
    ],
)
def test_a_repository_is_made_where_there_is_none(tmp_path: pathlib.Path, code: int, words: str) -> None:
    commands = FakeCommands(Completed(code, "", words), Completed(0, "", ""), CONFIG)
    with opened(commands, tmp_path) as remote:
        assert remote.ensure()
    assert [argv[1] for argv in commands.argvs] == ["cat", "init", "cat"]


@pytest.mark.parametrize(
    "words",
    [
        "Fatal: unable to open config file: Stat: dial tcp: connection refused\nIs there a repository here?",
        "Fatal: unable to open config file: Stat: Access Denied.",
        "Fatal: wrong password or no key found",
        "subprocess ssh: Host key verification failed.",
    ],
)
def test_nothing_is_made_where_one_cannot_look(tmp_path: pathlib.Path, words: str) -> None:
    commands = FakeCommands(Completed(1, "", words))
    with opened(commands, tmp_path) as remote, pytest.raises(HostError):
        remote.ensure()
    assert len(commands.calls) == 1


def test_secrets_are_in_files_for_root_and_no_arguments(tmp_path: pathlib.Path) -> None:
    seen: dict[str, str] = {}

    def answer(_argv: Sequence[str]) -> Completed:
        environment = commands.calls[-1].environment
        for name in ("RESTIC_REPOSITORY_FILE", "RESTIC_PASSWORD_FILE"):
            path = pathlib.Path(environment[name])
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.parent.stat().st_mode & 0o777 == 0o700
            # A directory of a run that is killed stays until the next one: not where its disk remembers it.
            assert path.parent.parent == tmp_path / "run"
            seen[name] = path.read_text()
        return Completed(1, "", "it failed with the pass-word and key-of-aws")

    commands = FakeCommands(answer=answer)
    with opened(commands, tmp_path) as remote, pytest.raises(HostError) as failure:
        remote.check()
    assert seen == {"RESTIC_REPOSITORY_FILE": REPOSITORY.url, "RESTIC_PASSWORD_FILE": REPOSITORY.password}
    assert not [word for word in REPOSITORY.secrets if word in str(failure.value) or word in str(commands.argvs)]
    assert not os.path.exists(os.path.dirname(commands.calls[0].environment["RESTIC_PASSWORD_FILE"]))


def test_without_restic_the_remedy_is_told(tmp_path: pathlib.Path) -> None:
    with (
        pytest.raises(HostError, match="restic is not installed"),
        opened(FakeCommands(missing=["restic"]), tmp_path),
    ):
        pass


@pytest.mark.parametrize(("code", "words"), [(1, LOCKED), (11, "Fatal: the repository could not be locked")])
def test_a_lock_of_another_host_is_waited_for_and_left_alone(tmp_path: pathlib.Path, code: int, words: str) -> None:
    told = Completed(code, "", words.format(host="elsewhere"))
    commands, pauses = FakeCommands(told, told, Completed(0, "", "")), list[float]()
    with opened(commands, tmp_path, pause=pauses.append) as remote:
        remote.check()
    assert len(pauses) == 2
    assert {argv[1] for argv in commands.argvs} == {"check"}


def test_a_lock_of_this_host_is_taken_away_once_where_restic_calls_it_stale(tmp_path: pathlib.Path) -> None:
    told = Completed(1, "", LOCKED.format(host=socket.gethostname()))
    commands, pauses = FakeCommands(told, Completed(0, "", ""), told, told, Completed(0, "", "")), list[float]()
    with opened(commands, tmp_path, pause=pauses.append) as remote:
        remote.check()
    assert [argv[1] for argv in commands.argvs] == ["check", "unlock", "check", "check", "check"]
    assert len(pauses) == 2


def test_a_copy_that_lacks_files_is_none(tmp_path: pathlib.Path) -> None:
    told = Completed(3, '{"message_type":"summary","snapshot_id":"0123456789"}', "at least one file could not be read")
    commands = FakeCommands(Completed(0, "[]", ""), told, Completed(0, "", ""))
    with opened(commands, tmp_path) as remote, pytest.raises(HostError, match="at least"):
        remote.store("/x", "blog", "20260101T030000Z", "asked")
    # Else the next run would find it, and make no other.
    assert commands.argvs[-1][1:] == ["forget", "0123456789"]
