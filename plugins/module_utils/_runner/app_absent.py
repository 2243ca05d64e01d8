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
from ansible_collections.serverkit.core.plugins.module_utils._plan import app_diff
from ansible_collections.serverkit.core.plugins.module_utils._runner import app_states
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import AppPlan, Draft, Snapshot, facts_of
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_reading import HostState
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values.app import ENVIRONMENT_FILE, AppState


def plan(host: Host, state: HostState, draft: Draft, snapshot: Snapshot) -> AppPlan:
    """Return what is to be done so that an app is gone, and its data where the request says so.

    :raises ConflictError: when it is somebody else's, or is served.
    """
    request, record = draft.request, snapshot.apps.get(draft.name)
    error = decide.conflict(draft.name, draft.directory.path, {}, snapshot.containers)
    if error:
        raise error
    warnings = _check_names(host, draft.name, snapshot.names.get(draft.name, ()))
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
        found = replace(found, diffs=app_diff.diffs(draft.name, before, found.after, (), ""))
    return replace(found, facts=facts_of(found, ()))


def _check_names(host: Host, app: str, names: Sequence[str]) -> tuple[str, ...]:
    """Make sure that nginx does not send an app's visitors to whoever gets its port next."""
    if not names:
        return ()
    error = ConflictError(
        f"remove the app {app}",
        f"nginx still serves it as {', '.join(names)}, and its port may be another app's next",
        "Remove these first with serverkit_domain, or run the playbook remove.yml, which does both",
    )
    if not host.check:
        raise error
    # In check mode a task before this one has not removed them, but would have.
    return (str(error),)
