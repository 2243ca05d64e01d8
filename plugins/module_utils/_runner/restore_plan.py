# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What is planned about restores, and what is written down of one: which set, which parts, how far it has come."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, get_args

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.restic import Snapshot
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import (
    DatabaseDump,
    Manifest,
    StoredFile,
    TreeArchive,
    begun,
    order,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink
from ansible_collections.serverkit.core.plugins.module_utils._values.restore import RestoreRequest

Kind = Literal["database", "volume", "bind"]
# `staging`: nothing of the app's is touched yet. `switching`: some of the data may be in the place of the former.
# `judging`: all of it is, and the app is brought up with it. `returning`: the former data is being put back.
Phase = Literal["staging", "switching", "judging", "returning"]

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Part:
    """One thing that is restored, and the names that it has on the way.

    :ivar name: of the link, the volume's key, the path of the bind mount.
    :ivar live: what the app uses: name of the database or the volume in Docker, path of the directory.
    :ivar fresh: what the set's content is called until the switch.
    :ivar kept: what the former content is called after it.
    :ivar existed: there was a former content.
    :ivar link: of a database: the registry's row, so that the server is found when the registry has it no more.
    """

    kind: Kind
    name: str
    live: str
    fresh: str
    kept: str
    existed: bool = True
    link: DatabaseLink | None = None

    @property
    def text(self) -> str:
        """What it is called in messages."""
        return f"{'directory' if self.kind == 'bind' else self.kind} {self.live}"


@dataclass(frozen=True)
class Journal:
    """A restore that is under way, as `state.json` has it.

    :ivar mark: what makes its names differ from those of other restores.
    :ivar started: the app was meant to be up.
    """

    mark: str
    set: str
    phase: Phase
    started: bool
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Kept:
    """Former content that a restore has put aside."""

    mark: str
    set: str
    part: Part

    @property
    def facts(self) -> dict[str, str]:
        """What is told about it."""
        return {"kind": self.part.kind, "name": self.part.name, "kept": self.part.kept, "set": self.set}


@dataclass(frozen=True)
class Source:
    """A part with what the set has of it.

    :ivar content: the dump or the archive.
    """

    kind: Kind
    name: str
    live: str
    content: DatabaseDump | TreeArchive
    link: DatabaseLink | None = None

    @property
    def file(self) -> StoredFile:
        """The file of the set."""
        return self.content.file


@dataclass(frozen=True)
class DataPlan:
    """What is put into an app that is there.

    :ivar set: name of the set.
    """

    set: str
    sources: tuple[Source, ...]
    diffs: tuple[Diff, ...]
    facts: Mapping[str, Any]
    warnings: tuple[str, ...] = ()


class Work(Protocol):
    """What each way to restore plans."""

    @property
    def diffs(self) -> Sequence[Diff]: ...

    @property
    def facts(self) -> Mapping[str, Any]: ...

    @property
    def warnings(self) -> Sequence[str]: ...


class Way(Protocol):
    """A way to restore a set."""

    def plan(self, manifest: Manifest) -> Any:
        """Return a `Work`; writes nothing."""

    def restore(self, work: Any, lock: int) -> Mapping[str, Any]:
        """Carry it out, all or nothing, and return what is told about it.

        :param lock: descriptor of the lock of the app that is restored into.
        """


@dataclass(frozen=True)
class RestorePlan:
    """What is to be done for one request.

    :ivar snapshot: what has to be fetched before anything else is known.
    :ivar way: how the set is restored, and `work`, what that has planned; None where there is nothing to restore yet.
    """

    request: RestoreRequest
    changed: bool
    snapshot: Snapshot | None = None
    way: Way | None = None
    work: Work | None = None
    manifest: Manifest | None = None
    diffs: tuple[Diff, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.request.name


def chosen(manifests: Sequence[Manifest], damaged: Sequence[str], request: RestoreRequest) -> str:
    """Return the name of the set that a request means; empty when there is none.

    A damaged one is chosen as if it were whole: in its stead, nobody shall get older data without a word.

    :param manifests: of the app's sets, in any order.
    :param damaged: names of sets of it that are none any more.
    """
    # Where an app was purged before its databases were dropped, the last set is one of databases alone.
    whole = [each for each in manifests if each.template or request.set or request.databases is not None]
    here = [each.id for each in whole if not request.from_host or each.host == request.from_host]
    fitting = [each for each in (*here, *damaged) if fits(each, request)]
    return max(fitting, key=order, default="")


def fits(identity: str, request: RestoreRequest) -> bool:
    """Whether a set is the one that is asked for, or not younger than that."""
    if request.set and identity != request.set:
        return False
    return request.until is None or begun(identity) <= request.until


def wanted(manifest: Manifest, request: RestoreRequest) -> tuple[tuple[DatabaseDump, ...], tuple[TreeArchive, ...]]:
    """Return the dumps and the archives of a set that a request is about; volumes come before binds.

    :raises InputError: when it names a part that the set does not have.
    """
    databases = _named(manifest, "database", {each.link: each for each in manifest.databases}, request.databases)
    volumes = _named(manifest, "volume", {each.name: each for each in manifest.volumes}, request.volumes)
    binds = _named(manifest, "bind", {each.name: each for each in manifest.binds}, request.binds)
    if not request.limited:
        return manifest.databases, (*manifest.volumes, *manifest.binds)
    return databases, (*volumes, *binds)


def _named(
    manifest: Manifest, kind: Kind, present: Mapping[str, Any], names: tuple[str, ...] | None
) -> tuple[Any, ...]:
    missing = [name for name in names or () if name not in present]
    if missing:
        plural = f"{kind}s"
        has = f"it has {', '.join(present)}" if present else f"it has no {plural}"
        raise InputError(
            f"restore {missing[0]} of the set {manifest.id} of the app {manifest.app}",
            f"there is no such {kind} in it: {has}",
            f"Name other {plural}, or another set",
        )
    return tuple(present[name] for name in names or ())


# What state.json has


def journal_as_json(journal: Journal) -> dict[str, Any]:
    """Return a journal as `state.json` has it."""
    return dataclasses.asdict(journal)


def read_journal(value: object) -> Journal | None:
    """Return the journal that `state.json` has; None when there is none.

    :raises HostError: when it is damaged.
    """
    if value is None:
        return None
    try:
        fields = dict(value)  # type: ignore[call-overload] # whatever it is, dict() refuses what is none
        return Journal(**{**fields, "parts": tuple(_part(each) for each in fields["parts"])})
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _damaged("the unfinished restore") from None


def kept_as_json(kept: Sequence[Kept]) -> list[dict[str, Any]]:
    """Return what is kept aside as `state.json` has it."""
    return [dataclasses.asdict(each) for each in kept]


def read_kept(value: object) -> tuple[Kept, ...]:
    """Return what is kept aside, as `state.json` has it.

    :raises HostError: when it is damaged.
    """
    try:
        listed = [dict(each) for each in value or ()]  # type: ignore[attr-defined] # as above
        return tuple(Kept(each["mark"], each["set"], _part(each["part"])) for each in listed)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _damaged("what restores have kept aside") from None


def _part(fields: Mapping[str, Any]) -> Part:
    link = fields.get("link")
    row = None if link is None else DatabaseLink(**{**link, "services": tuple(link["services"])})
    return Part(**{**fields, "link": row})


def _damaged(what: str) -> HostError:
    return HostError(
        f"read {what} from state.json", "it is damaged", "Look at the file, which is beside the app's sets"
    )
