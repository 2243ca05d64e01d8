# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Planning what of a set goes into an app that is there. Nothing here writes."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker_volumes import plain
from ansible_collections.serverkit.core.plugins.module_utils._plan.link_order import container_of
from ansible_collections.serverkit.core.plugins.module_utils._plan.linked_template import same_engine
from ansible_collections.serverkit.core.plugins.module_utils._plan.links import linked
from ansible_collections.serverkit.core.plugins.module_utils._plan.mounts import outermost
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_parts import Parts
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_plan import DataPlan, Source, wanted
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_room import Room
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import DatabaseDump, Manifest, TreeArchive
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink
from ansible_collections.serverkit.core.plugins.module_utils._values.restore import RestoreRequest


def plan(parts: Parts, manifest: Manifest, request: RestoreRequest) -> DataPlan:
    """Return what is put in the place of what.

    :raises InputError: when the set does not have a part that is asked for.
    :raises ConflictError: when the app does not have that part any more, or it is of another kind.
    :raises HostError: when a server is down, or a disk has no room.
    """
    dumps, archives = wanted(manifest, request)
    rows = {row.name: row for row in linked(parts.links, manifest.app)}
    warnings: list[str] = []
    sources: list[Source] = []
    for dump in dumps:
        link = _link_of(manifest, dump, rows.get(dump.link))
        again = next((each for each in sources if each.link and _place(each.link) == _place(link)), None)
        if again is not None:
            continue  # two links of one database: it is restored once
        place = container_of(link)
        if place and place[0] == manifest.app and not request.databases:
            warnings.append(
                f"the database of the link {dump.link} is in a container of the app, and comes with its volume"
            )
            continue
        parts.databases.administrated(link)
        sources.append(Source("database", dump.link, link.database, dump, link))
    volumes = [each for each in archives if each in manifest.volumes]
    binds = [each for each in archives if each in manifest.binds]
    _check_volumes(parts, volumes)
    check_binds([each.source for each in binds])
    sources += [Source("volume", each.name, each.source, each) for each in volumes]
    tops = outermost(each.source for each in binds)
    sources += [Source("bind", each.name, each.source, each) for each in binds if each.source in tops]
    _check_room(parts, sources)
    return DataPlan(manifest.id, tuple(sources), _diffs(manifest, sources), _facts(sources), tuple(warnings))


def _link_of(manifest: Manifest, dump: DatabaseDump, row: DatabaseLink | None) -> DatabaseLink:
    attempted = f"restore the database of the link {manifest.app}/{dump.link}"
    if row is None:
        reason = "the app has no such link any more"
        raise ConflictError(attempted, reason, "Link it with serverkit_db_link first, or name other parts of the set")
    if not same_engine(row.engine, dump.engine):
        reason = f"it is on {row.engine} now, and the set has it from {dump.engine}"
        raise ConflictError(attempted, reason, "Name other parts of the set")
    return row


def _place(link: DatabaseLink) -> tuple[str, str]:
    return link.server, link.database


def _check_volumes(parts: Parts, volumes: Sequence[TreeArchive]) -> None:
    found = parts.volumes.inspect([each.source for each in volumes])
    for each in volumes:
        if each.source in found and not plain(found[each.source]):
            raise ConflictError(
                f"restore the volume {each.source}",
                "it is not in a directory of Docker's own, so that no other can take its place",
                f"Name the other parts of the set; the archive {each.file.path} of it can be unpacked by hand",
            )
        strangers = parts.strangers(each.source) if each.source in found else ()
        if strangers:
            reason = f"it is mounted by {', '.join(strangers)}, which would go on with the former content"
            raise ConflictError(f"restore the volume {each.source}", reason, "Stop that first")


def check_binds(paths: Sequence[str]) -> None:
    """Make sure that another directory can take the place of each: the kernel renames none that is a mount point.

    :raises ConflictError: when one is a file system of its own.
    """
    for path in filter(os.path.ismount, paths):
        raise ConflictError(
            f"restore {path}",
            "it is a mount point, so that no other directory can take its place",
            "Name the other parts of the set; its archive can be unpacked by hand",
        )


def _check_room(parts: Parts, sources: Sequence[Source]) -> None:
    """Make sure that the disks have room for what is put beside the present data.

    :raises HostError: when one has not.
    """
    room = Room("Make room beside the present data, or discard what former restores have kept")
    found = parts.volumes.inspect([each.live for each in sources if each.kind == "volume"])
    for each in sources:
        volume = found.get(each.live)
        if each.kind == "bind":
            room.take(f"restore {each.name}", os.path.dirname(each.live.rstrip("/")), each.file.content_size)
        elif each.kind == "volume" and volume and os.path.isdir(volume.mountpoint):
            room.take(f"restore {each.name}", volume.mountpoint, each.file.content_size)


def _diffs(manifest: Manifest, sources: Sequence[Source]) -> tuple[Diff, ...]:
    before = "".join(f"{each.kind} {each.name}: {each.live} as it is now\n" for each in sources)
    after = "".join(
        f"{each.kind} {each.name}: {each.live} of the set {manifest.id}, {_size(each)}\n" for each in sources
    )
    return (Diff(f"data of {manifest.app}", before, after),) if sources else ()


def _size(source: Source) -> str:
    if isinstance(source.content, DatabaseDump):
        return f"{sum(source.content.rows.values())} rows in {len(source.content.rows)} tables"
    return f"{source.content.entries} files and directories"


def _facts(sources: Sequence[Source]) -> dict[str, object]:
    dumps = [each.content for each in sources if isinstance(each.content, DatabaseDump)]
    trees = {kind: [each for each in sources if each.kind == kind] for kind in ("volume", "bind")}
    entries = {kind: {each.name: _entries(each) for each in listed} for kind, listed in trees.items()}
    return {
        "databases": {each.link: {"engine": each.engine, "rows": sum(each.rows.values())} for each in dumps},
        "volumes": entries["volume"],
        "binds": entries["bind"],
    }


def _entries(source: Source) -> int:
    return source.content.entries if isinstance(source.content, TreeArchive) else 0
