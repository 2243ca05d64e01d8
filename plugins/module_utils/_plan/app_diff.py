# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What `--diff` shows of a change to an app; secrets are fingerprints."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ansible_collections.serverkit.core.plugins.module_utils._plan.app import (
    content_hash,
    environment_lines,
    read_description,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.app import (
    COMPOSE_FILE,
    DESCRIPTION_FILE,
    ENVIRONMENT_FILE,
    AppState,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.links import LINKS_FILE
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff
from ansible_collections.serverkit.core.plugins.module_utils._values.template import RenderedFile


def diffs(app: str, before: AppState, after: AppState, replaced: Collection[str], template: str) -> tuple[Diff, ...]:
    """Return what `--diff` shows of a change: a summary, then each file.

    :param replaced: services whose containers are made anew.
    :param template: the path of the host's copy of the template.
    """
    found = [Diff(f"app {app}", _summary(before, ()), _summary(after, replaced))]
    for path in sorted({*before.files, *after.files}, key=_reading_order):
        if path != DESCRIPTION_FILE:
            old, new = _as_shown(path, before.files), _as_shown(path, after.files)
            kind = " (json)" if path == COMPOSE_FILE and new.startswith("{") else ""
            found.append(Diff(f"{app}/{path}{kind}", old, new))
    found.append(Diff(template, before.template, after.template))
    told = tuple(diff for diff in found if diff.before != diff.after)
    if told or before == after:
        return told
    # Something that a person seldom wants to read, such as how health is judged: shown when it is all there is.
    old, new = _content(before.files, DESCRIPTION_FILE), _content(after.files, DESCRIPTION_FILE)
    return (Diff(f"{app}/{DESCRIPTION_FILE}", old, new),)


def _content(files: Mapping[str, RenderedFile], path: str) -> str:
    return files[path].content if path in files else ""


def _reading_order(path: str) -> tuple[int, str]:
    first = (COMPOSE_FILE, LINKS_FILE, ENVIRONMENT_FILE)
    return (first.index(path) if path in first else len(first), path)


def _as_shown(path: str, files: Mapping[str, RenderedFile]) -> str:
    if path not in files:
        return ""
    content, mode = files[path].content, files[path].mode
    if path == ENVIRONMENT_FILE:
        content = "".join(f"{line}\n" for line in environment_lines(content))
    expected = {COMPOSE_FILE: 0o644, LINKS_FILE: 0o644, ENVIRONMENT_FILE: 0o600}.get(path, mode)
    return content if mode == expected else f"# mode {mode:04o} instead of {expected:04o}\n{content}"


def _summary(state: AppState, replaced: Collection[str]) -> str:
    if state.state == "absent" and not (state.services or state.ports or state.leftovers):
        return "state: absent\n"
    lines = [f"state: {state.state}"]
    described = read_description(_content(state.files, DESCRIPTION_FILE))
    if described:
        lines.append(f"template: {described.template} {described.version}")
    if COMPOSE_FILE in state.files:
        lines.append(f"release: {content_hash(state.files)}")
    if state.recorded and state.recorded != content_hash(state.files):
        lines.append(f"release in the registry: {state.recorded}")
    if not state.confirmed:
        lines.append("health: not confirmed")
    lines += [f"port {name}: {port}" for name, port in sorted(state.ports.items())]
    for service, condition in sorted(state.services.items()):
        lines.append(f"service {service}: {condition}{' (container made anew)' if service in replaced else ''}")
    lines += [f"present: {name}" for name in state.leftovers]
    return "".join(f"{line}\n" for line in lines)
