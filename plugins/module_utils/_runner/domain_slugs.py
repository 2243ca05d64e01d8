# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The slugs of private URLs that the task does not choose: random, or found again on a host that lost its registry."""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.serverkit.core.plugins.module_utils._edges import randomness
from ansible_collections.serverkit.core.plugins.module_utils._plan import sites
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_task import Snapshot, Task
from ansible_collections.serverkit.core.plugins.module_utils._values.domain import Wanted


def prepared_slugs(task: Task, snapshot: Snapshot, wanted: Sequence[Wanted]) -> dict[str, str]:
    """Have a slug ready for each app that may need one.

    Where nginx serves a private URL that the registry does not know, the registry was lost: people have the link, so it
    stays.
    """
    owned, elsewhere = snapshot.owned, snapshot.elsewhere.slugs
    taken = {names.private.slug for names in owned.values() if names.private} | set(elsewhere)
    slugs: dict[str, str] = {}
    for app in {item.app for item in wanted if item.kind == "private_url" and item.present and not item.slug}:
        if not snapshot.names(app).private:
            slug = _slug_on_disk(task, app)
            slugs[app] = slug if slug and slug not in taken else _new_slug(task, app)
    return slugs


def _slug_on_disk(task: Task, app: str) -> str:
    for path in (task.layout.private(app), task.layout.private_site(app)):
        content = task.nginx.content(path)
        slug = sites.slug_in(content.text) if content and not content.link else ""
        if slug:
            return slug
    return ""


def _new_slug(task: Task, app: str) -> str:
    # In check mode a random slug would be another one than the real run then takes.
    return f"<random-{app}>" if task.host.check else randomness.slug()
