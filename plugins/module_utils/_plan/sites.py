# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The files that nginx needs for an app, compared with those that are there. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError
from ansible_collections.serverkit.core.plugins.module_utils._plan import vhost
from ansible_collections.serverkit.core.plugins.module_utils._plan.domain import Names
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import (
    CATCH_ALL_HOST,
    PROOF_PATH,
    SHARED,
    Content,
    FileChange,
    Layout,
    is_ours,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff

Look = Callable[[str], "Content | None"]


@dataclass(frozen=True)
class Proof:
    """What a name answers at a path once the running nginx has these files."""

    host: str
    path: str
    text: str


@dataclass(frozen=True)
class SiteChange:
    """All that nginx has of an app (or of what all apps share), before and after.

    `hash_before` is what nginx was last proven to serve; the empty text is nothing.
    """

    app: str
    files: tuple[FileChange, ...]
    hash_before: str
    hash_after: str
    proofs: tuple[Proof, ...]

    @property
    def changed(self) -> bool:
        return self.hash_before != self.hash_after or any(change.needed for change in self.files)

    @property
    def diffs(self) -> tuple[Diff, ...]:
        found = [
            Diff(change.path, _shown(change.before), _shown(change.after)) for change in self.files if change.needed
        ]
        if not found and self.hash_before != self.hash_after:
            header = f"configuration of {self.app} that nginx was seen to serve"
            found.append(Diff(header, _line(self.hash_before), _line(self.hash_after)))
        return tuple(found)


def site_change(site: vhost.Site, names: Names, served: str, look: Look, layout: Layout, *, ipv6: bool) -> SiteChange:
    """Return the change that makes nginx serve an app's names, and nothing else of it.

    :param served: the hash in the registry.
    :param look: tells what is at a path.
    :raises ConflictError: when one of the files is somebody else's.
    """
    app = site.app
    texts: list[str] = []
    proofs: list[Proof] = []
    main = private = link = None
    if names:
        rendered = vhost.site_text(site, layout, ipv6=ipv6)
        main, link = Content(rendered.text), Content(layout.available(app), link=True)
        texts.append(rendered.text)
        proofs += [Proof(name, PROOF_PATH, rendered.proof) for server in site.servers for name in server.names]
    if site.private:
        rendered = vhost.private_text(site, layout)
        private = Content(rendered.text, mode=0o600)
        texts.append(rendered.text)
        proofs.append(Proof(CATCH_ALL_HOST, f"/p/{site.private.slug}{PROOF_PATH}", rendered.proof))
    changes = [
        _change(layout.available(app), main, look, layout),
        _change(layout.private(app), private, look, layout),
        _change(layout.enabled(app), link, look, layout),
    ]
    # What others refer to comes first and goes last, so that the files are a valid configuration at every instant.
    ordered = tuple(changes if names else reversed(changes))
    return SiteChange(app, ordered, served, vhost.digest(texts) if texts else "", tuple(proofs))


def shared_change(served: str, look: Look, layout: Layout, *, ipv6: bool, names_hash: bool) -> SiteChange:
    """Return the change that brings about what all apps share.

    :raises ConflictError: when one of the files is somebody else's.
    """
    shared = vhost.shared_text(names_hash=names_hash)
    catch_all = vhost.catch_all_text(layout, ipv6=ipv6)
    available = layout.available(SHARED)
    files = (
        _change(layout.shared, Content(shared), look, layout),
        _change(available, Content(catch_all.text), look, layout),
        _change(layout.enabled(SHARED), Content(available, link=True), look, layout),
    )
    proof = Proof(CATCH_ALL_HOST, PROOF_PATH, catch_all.proof)
    return SiteChange(SHARED, files, served, vhost.digest([shared, catch_all.text]), (proof,))


def slug_in(text: str) -> str:
    """Return the slug that a file of private_text serves, or the empty text."""
    found = re.search(r"^location \^~ /p/([a-z0-9-]+)/ \{$", text, re.MULTILINE)
    return found[1] if found and is_ours(text) else ""


def names_in(text: str) -> list[str]:
    """Return the domains that a file of site_text serves."""
    found = re.findall(r"^    server_name (.*);$", text, re.MULTILINE)
    return [name for names in found for name in names.split()]


def looks_like_proof(answer: str) -> bool:
    """Whether a server's answer is the proof of some configuration of ours."""
    return re.fullmatch(r"[0-9a-f]{32}", answer) is not None


def _change(path: str, after: Content | None, look: Look, layout: Layout) -> FileChange:
    before = look(path)
    if before is None or _is_ours(path, before, layout):
        return FileChange(path, before, after)
    if after is None:
        return FileChange(path, None, None)
    what = f"a symbolic link to {before.text}" if before.link else "a file"
    raise ConflictError(
        f"write {path}",
        f"there is {what} that serverkit.core did not make",
        "Move it away if it is not needed, or give the app another name",
    )


def _is_ours(path: str, content: Content, layout: Layout) -> bool:
    if not content.link:
        return is_ours(content.text)
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), content.text))
    return path == layout.enabled(posixpath.basename(path)) and target == layout.available(posixpath.basename(path))


def _shown(content: Content | None) -> str:
    if content is None:
        return ""
    if content.link:
        return f"symbolic link to {content.text}\n"
    return content.text if content.mode in (0o644, 0o600) else f"# mode {content.mode:04o}\n{content.text}"


def _line(text: str) -> str:
    return f"{text}\n" if text else ""
