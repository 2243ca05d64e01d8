# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Encrypted copies of backup sets elsewhere: restic, from 0.12 (Ubuntu 22.04) on.

Debian 12 has 0.14, which waits for no lock, and ends with 1 whatever went wrong: so its messages are read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._edges import files, scratch
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Commands, Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._plan.redaction import redact
from ansible_collections.serverkit.core.plugins.module_utils._plan.retention import thinned
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import REASONS, Keep, Reason, order
from ansible_collections.serverkit.core.plugins.module_utils._values.repository import Repository

# The identities of repositories that were used once, so that one that is gone is told from one that never was.
KNOWN = "/var/serverkit/backups/.repositories"
# What restic remembers of repositories, so that it need not be fetched each time; encrypted as they are.
CACHE = "/var/cache/serverkit/restic"

_TAG = "serverkit"
_REASONS: dict[str, Reason] = {reason: reason for reason in REASONS}
_PATIENCE = 900.0  # seconds
_BETWEEN = 5.0  # seconds
_SHORT = 8  # letters of a snapshot's name that people are shown
_INSTALL = "Install restic, or run site.yml with serverkit_backup_repository set"
_MOUNT = "Is its disk mounted? Mend that"
# Exit status of restic 0.17 and newer; before, the words of each backend: local, SFTP, S3, REST, and the others.
_NO_REPOSITORY = 10
_IS_LOCKED = 11
_NOT_THERE = re.compile(
    r"no such file or directory|file does not exist|key does not exist|bucket does not exist|config/?> does not exist"
    r"|NoSuchKey|NoSuchBucket|BlobNotFound|ContainerNotFound|object doesn't exist|file with the given name"
)
_LOCKED = re.compile(r"already locked|unable to create lock in backend")


@dataclass(frozen=True)
class Snapshot:
    """A set in a repository; `host` is whose it is, `time` when it was stored (RFC 3339)."""

    id: str
    time: str
    host: str
    app: str
    set: str
    reason: str


class Restic:
    """One repository, opened by `opened`."""

    def __init__(
        self,
        commands: Commands,
        repository: Repository,
        environment: Mapping[str, str],
        host: str,
        *,
        known: str = KNOWN,
        pause: Callable[[float], None] = time.sleep,
        patience: float = _PATIENCE,
    ) -> None:
        self._commands = commands
        self._repository = repository
        self._environment = dict(environment)
        self._host = host
        self._known = os.path.join(known, hashlib.sha256(repository.url.encode()).hexdigest()[:32])
        self._pause = pause
        self._patience = patience

    def ensure(self) -> bool:
        """Make the repository where there is none, and tell whether it was made.

        :raises HostError: when it cannot be reached or opened, or was there before and is not any more.
        """
        attempted = "open the repository of backups"
        done = self._run("cat", "config", "--no-lock")
        if done.ok:
            self._recognise(attempted, done.stdout)
            return False
        if done.returncode != _NO_REPOSITORY and not _NOT_THERE.search(done.stderr):
            raise self._error(attempted, done)
        if files.read(self._known) is not None:
            reason = "it was there before, and is gone"
            remedy = f"{_MOUNT}; or remove {self._known}, to begin a new one"
            raise HostError(attempted, reason, remedy)
        made = self._run("init")
        if not made.ok:
            raise self._error("make the repository of backups", made)
        self._recognise(attempted, self._out(attempted, "cat", "config", "--no-lock"))
        return True

    def _recognise(self, attempted: str, config: str) -> None:
        identity = str(json.loads(config)["id"])
        state = files.read(self._known)
        if state is None:
            files.make_directory(os.path.dirname(self._known), 0o700)
            files.write(self._known, f"{identity}\n", 0o600)
        elif state.content.strip() != identity:
            reason = "another repository than before is in its place"
            raise HostError(attempted, reason, f"{_MOUNT}; or remove {self._known}, to go on with this one")

    def snapshots(self, app: str = "", host: str | None = None) -> tuple[Snapshot, ...]:
        """Return the sets of an app (or of all), of this host (`*`: of all hosts), newest last.

        :raises HostError: when the repository cannot be read.
        """
        wanted = self._host if host is None else host
        tags = f"{_TAG},app={app}" if app else _TAG
        chosen = [] if wanted == "*" else ["--host", wanted]
        # Nothing is written, and a lock that is there is no reason not to look.
        text = self._out("list the copies of backups", "snapshots", "--json", "--no-lock", "--tag", tags, *chosen)
        found = (_snapshot(entry) for entry in json.loads(text) or [])
        return tuple(sorted((one for one in found if one.app and one.set), key=lambda one: (order(one.set), one.time)))

    def store(self, directory: str, app: str, set_id: str, reason: str) -> str:
        """Copy a set, and return the snapshot's name in its short form; one that is there is not copied again.

        :param directory: of the set, whole and finished.
        :raises HostError: when it cannot be copied, or not wholly.
        """
        attempted = f"copy the backup {set_id} of {app} to the repository"
        present = [one.id for one in self.snapshots(app) if one.set == set_id]
        if present:
            return present[-1][:_SHORT]
        tags = (_TAG, f"app={app}", f"set={set_id}", f"reason={reason}")
        options = [part for tag in tags for part in ("--tag", tag)]
        done = self._run("backup", "--json", "--host", self._host, *options, "--", directory)
        told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        made = next((str(one["snapshot_id"]) for one in told if one.get("message_type") == "summary"), "")
        if not done.ok:
            if made:
                # Exit status 3: some files could not be read. The next run would take it for a copy that is whole.
                self._out(f"remove the unfinished copy {made[:_SHORT]} from the repository", "forget", made)
            raise self._error(attempted, done)
        if not made:
            raise HostError(attempted, "restic has not told that it made a copy", "Look at the repository with restic")
        return made[:_SHORT]

    def fetch(self, snapshot: Snapshot, directory: str) -> None:
        """Bring a set back.

        :param directory: where the set's files go: empty, and of the file system where there is room for them.
        :raises HostError: when it cannot be read whole.
        """
        attempted = f"fetch the backup {snapshot.set} of {snapshot.app} from the repository"
        inner = os.path.join(directory, ".restic")
        self._out(attempted, "restore", snapshot.id, "--no-lock", "--target", inner)
        try:
            # Below the path that the set had on the host it is from.
            top = next(folder for folder, _folders, names in os.walk(inner) if "manifest.json" in names)
            for name in os.listdir(top):
                os.rename(os.path.join(top, name), os.path.join(directory, name))
            shutil.rmtree(inner)
        except StopIteration:
            raise HostError(attempted, "there is no manifest in it", "Choose another set") from None
        except OSError as error:
            raise HostError(attempted, error.strerror or str(error)) from error

    def thin(self, app: str, keep: Keep) -> tuple[Snapshot, ...]:
        """Remove the copies of an app's sets that `keep` does not, by the rule for the sets on this host.

        Only copies of this host are looked at. Those made before something was replaced or deleted always stay.

        :returns: what was removed.
        :raises HostError: when restic refuses.
        """
        present = self.snapshots(app)
        # A reason of a newer release is none to remove anything for.
        going = set(thinned([(one.set, _REASONS[one.reason]) for one in present if one.reason in _REASONS], keep))
        removed = tuple(one for one in present if one.set in going)
        if removed:
            attempted = f"thin the copies of the backups of {app}"
            self._out(attempted, "forget", "--prune", *(one.id for one in removed))
        return removed

    def check(self, read_data: str = "") -> None:
        """Have restic look for damage.

        :param read_data: how much of the data to read as well, such as `5%`, `1/7` or `100%`.
        :raises HostError: when there is any, with restic's words.
        """
        more = [f"--read-data-subset={read_data}"] if read_data else []
        self._out("find the repository of backups undamaged", "check", *more)

    def _out(self, attempted: str, *arguments: str) -> str:
        done = self._run(*arguments)
        if not done.ok:
            raise self._error(attempted, done)
        return done.stdout

    def _run(self, *arguments: str) -> Completed:
        """Run restic; waits for those who lock the repository, and takes away what a dead process of this host left."""
        options = [part for name, value in self._repository.options.items() for part in ("-o", f"{name}={value}")]
        waited, unlocked = 0.0, False
        while True:
            done = self._commands.run(["restic", *options, *arguments], environment=self._environment)
            locked = done.returncode == _IS_LOCKED or _LOCKED.search(done.stderr)
            if done.ok or not locked or waited >= self._patience:
                return done
            if not unlocked and f" on {socket.gethostname()} " in done.stderr:
                # Only what restic calls stale: of a dead process of this host, or not renewed in half an hour.
                self._commands.run(["restic", *options, "unlock"], environment=self._environment)
                unlocked = True
                continue
            self._pause(_BETWEEN)
            waited += _BETWEEN

    def _error(self, attempted: str, done: Completed) -> HostError:
        said = " ".join((done.stderr.strip() or done.stdout.strip()).split())
        reason = redact(said, self._repository.secrets) or f"restic ended with {done.returncode}"
        if "wrong password" in said:
            return HostError(attempted, "its password is another one", "Give the one that it was made with")
        remedy = "See `restic check`, and https://restic.readthedocs.io/en/stable/077_troubleshooting.html"
        return HostError(attempted, reason[-1500:], remedy if "check" in attempted or "undamaged" in attempted else "")


@contextlib.contextmanager
def opened(
    commands: Commands,
    repository: Repository,
    *,
    host: str = "",
    known: str = KNOWN,
    cache: str = CACHE,
    runtime: str = scratch.ROOT,
    pause: Callable[[float], None] = time.sleep,
    patience: float = _PATIENCE,
) -> Iterator[Restic]:
    """Prepare to use a repository; its address and password are in files that only root reads, and gone afterwards.

    :param host: what this host's copies are marked with; empty is its name.
    :param runtime: where those files are, in a directory of their own.
    :param patience: how long to wait for others who lock the repository, in seconds.
    :raises HostError: when restic is not installed.
    """
    if commands.find("restic") is None:
        raise HostError("use the repository of backups", "restic is not installed", _INSTALL)
    with scratch.directory(runtime) as secrets:
        address, password = os.path.join(secrets, "repository"), os.path.join(secrets, "password")
        files.write(address, repository.url, 0o600)
        files.write(password, repository.password, 0o600)
        environment = {
            **repository.environment,
            "RESTIC_REPOSITORY_FILE": address,
            "RESTIC_PASSWORD_FILE": password,
            "RESTIC_CACHE_DIR": cache,
        }
        name = host or socket.gethostname()
        yield Restic(commands, repository, environment, name, known=known, pause=pause, patience=patience)


def _snapshot(entry: Mapping[str, Any]) -> Snapshot:
    tags = dict(tag.partition("=")[::2] for tag in entry.get("tags") or [])
    return Snapshot(
        str(entry["id"]),
        str(entry["time"]),
        str(entry.get("hostname", "")),
        tags.get("app", ""),
        tags.get("set", ""),
        tags.get("reason", ""),
    )
