# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Planning an app that is to be gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._plan import app_diff, link_order, links
from ansible_collections.serverkit.core.plugins.module_utils._runner import app_states
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import AppPlan, Draft, Snapshot, facts_of
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_reading import HostState
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values.app import ENVIRONMENT_FILE, AppState
from ansible_collections.serverkit.core.plugins.module_utils._values.records import DatabaseLink


def plan(host: Host, state: HostState, draft: Draft, snapshot: Snapshot) -> AppPlan:
    """Return what is to be done so that an app is gone, and its data where the request says so.

    :raises ConflictError: when it is somebody else's, is served, or is the database server of other apps.
    """
    request, record = draft.request, snapshot.apps.get(draft.name)
    error = decide.conflict(draft.name, draft.directory.path, {}, snapshot.containers)
    if error:
        raise error
    warnings = _refused(host, _served(draft.name, snapshot.names.get(draft.name, ())))
    containers = decide.own(draft.name, draft.directory.path, snapshot.containers)
    before = app_states.actual(draft, record, containers, snapshot.leases.get(draft.name, ()), None, "")
    kept = {path: file for path, file in draft.files.items() if path == ENVIRONMENT_FILE and not request.purge}
    ours = record is not None or draft.directory.exists
    volumes: tuple[str, ...] = ()
    if ours and (request.purge or before.state != "absent"):
        volumes = state.volumes_of(draft.name)
    if request.purge:
        doomed = tuple(f"volume {name}" for name in volumes)
        home = (f"directory {draft.directory.path}",) if draft.directory.exists else ()
        before = replace(before, leftovers=(*before.leftovers, *home, *doomed))
    after = AppState("absent", kept)
    found = AppPlan(request, before, after, draft, None, record, containers, volumes=volumes, warnings=warnings)
    if found.changed:
        warnings = (*warnings, *_refused(host, _used(draft, snapshot)))
        diffs = app_diff.diffs(draft.name, before, found.after, (), "")
        found = replace(found, diffs=diffs, warnings=warnings)
    return replace(found, facts=facts_of(found, ()))


def _served(app: str, names: Sequence[str]) -> ConflictError | None:
    """Return why an app stays that nginx would send visitors to: they would come to whoever gets its port next."""
    if not names:
        return None
    return ConflictError(
        f"remove the app {app}",
        f"nginx still serves it as {', '.join(names)}, and its port may be another app's next",
        "Remove these first with serverkit_domain, or run the playbook remove.yml, which does both",
    )


def _used(draft: Draft, snapshot: Snapshot) -> ConflictError | None:
    """Return why an app stays that other apps have their databases in.

    Without its data, what apps that are not deployed have left there would be lost as well.
    """
    purge = draft.request.purge
    kept = snapshot.links if purge else [row for row in snapshot.links if row.app in snapshot.apps and _is_linked(row)]
    guests = sorted(
        f"{row.app}/{row.name}"
        for row in kept
        if link_order.server_app(row) == draft.name
        and row.app != draft.name
        and (row.app not in snapshot.leaving or (purge and not snapshot.leaving[row.app]))
    )
    if not guests:
        return None
    drop, purged = (", drop: true", " with purge: true") if purge else ("", "")
    return ConflictError(
        f"remove the app {draft.name}",
        f"it is the database server of the links {', '.join(guests)} of other apps",
        f"Unlink these first with serverkit_db_link (state: absent{drop}), or remove the apps in the same task{purged}",
    )


def _is_linked(row: DatabaseLink) -> bool:
    return row.options.get(links.STATE) != links.UNLINKED


def _refused(host: Host, error: ConflictError | None) -> tuple[str, ...]:
    """Raise an error, or return it as a warning: in check mode a task before this one would have done away with it."""
    if error is not None and not host.check:
        raise error
    return (str(error),) if error else ()
