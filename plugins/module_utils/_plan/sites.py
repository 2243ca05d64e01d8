# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The files that nginx needs for an app, compared with those that are there. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError
from ansible_collections.serverkit.core.plugins.module_utils._plan import vhost
from ansible_collections.serverkit.core.plugins.module_utils._plan.vhost_model import (
    PrivateDomain,
    Site,
    Target,
    short_hash,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import (
    CATCH_ALL_HOST,
    PROOF_PATH,
    SHARED,
    Content,
    FileChange,
    Layout,
    TlsFiles,
    is_ours,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff

# A line of a password file.
_HASHED = re.compile(r"^([^:\s]+):(\$[0-9a-z]+\$\S+)$", re.MULTILINE)

Look = Callable[[str], "Content | None"]


@dataclass(frozen=True)
class Proof:
    """What a name answers at a path once the running nginx has these files.

    :ivar tls: by HTTPS, with this certificate; None is by HTTP.
    """

    host: str
    path: str
    text: str
    tls: TlsFiles | None = None


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


def site_change(
    site: Site,
    served: str,
    look: Look,
    target: Target,
    *,
    auth: Mapping[str, Content] | None = None,
    auth_files: Collection[str] = (),
) -> SiteChange:
    """Return the change that makes nginx serve an app's names, and nothing else of it.

    :param served: the hash in the registry.
    :param look: tells what is at a path.
    :param auth: the password files of the items of the task, by path. Those of other names stay as they are.
    :param auth_files: the paths of the app's password files that are there.
    :raises ConflictError: when one of the files is somebody else's.
    """
    app, layout = site.app, target.layout
    rendered = {
        layout.available(app): vhost.site_text(site, target),
        layout.private_site(app): vhost.private_site_text(site, target),
        layout.private(app): vhost.private_text(site, target),
    }
    wanted: dict[str, Content | None] = {
        path: Content(found.text, 0o644 if path == layout.available(app) else 0o600) if found else None
        for path, found in rendered.items()
    }
    wanted[layout.enabled(app)] = Content(layout.available(app), link=True) if wanted[layout.available(app)] else None
    # What others refer to comes first and goes last, so that the files are a valid configuration at every instant.
    order = (layout.available(app), layout.enabled(app), layout.private_site(app), layout.private(app))
    changes = _auth_changes(site, look, layout, auth or {}, auth_files)
    changes += [_change(path, wanted[path], look, layout) for path in order]
    kept = [change for change in changes if change.after is not None]
    gone = [change for change in reversed(changes) if change.after is None]
    texts = [found.text for found in rendered.values() if found]
    proofs = _proofs(site, {path: found.proof for path, found in rendered.items() if found}, layout)
    return SiteChange(app, (*kept, *gone), served, vhost.digest(texts) if texts else "", tuple(proofs))


def _proofs(site: Site, texts: Mapping[str, str], layout: Layout) -> list[Proof]:
    found = []
    for server in site.servers:
        secured = server.covered
        for name in server.names:
            found.append(Proof(concrete(name), PROOF_PATH, texts[layout.available(site.app)]))
            if name in secured:
                found.append(replace(found[-1], tls=server.tls))
    private = site.private
    if private is None:
        return found
    if private.domain is None:
        path = f"/p/{private.slug}{PROOF_PATH}"
        return [*found, Proof(CATCH_ALL_HOST, path, texts[layout.private(site.app)])]
    return [*found, Proof(private.host, PROOF_PATH, texts[layout.private_site(site.app)], private.domain.tls)]


def concrete(name: str) -> str:
    """Return a name that can be asked for: of a wildcard, one of those that it stands for."""
    return f"serverkit-proof{name[1:]}" if name.startswith("*.") else name


def auth_names(site: Site) -> list[str]:
    """Return the names by which the layout knows the password files that a site refers to."""
    found = [server.names[0] for server in site.servers if server.site.basic_auth]
    return found + (["private"] if site.private and site.private.site.basic_auth else [])


def _auth_changes(
    site: Site, look: Look, layout: Layout, auth: Mapping[str, Content], present: Collection[str]
) -> list[FileChange]:
    kept = {layout.htpasswd(site.app, name) for name in auth_names(site)}
    changes = [_change(path, auth[path], look, layout) for path in sorted(kept) if path in auth]
    return changes + [_change(path, None, look, layout) for path in sorted(set(present) - kept)]


def shared_change(
    served: str,
    look: Look,
    target: Target,
    *,
    names_hash: bool,
    tls: bool,
    fallback: TlsFiles | None = None,
    private_domains: Sequence[PrivateDomain] = (),
) -> SiteChange:
    """Return the change that brings about what all apps share.

    :raises ConflictError: when one of the files is somebody else's.
    """
    layout = target.layout
    shared = vhost.shared_text(target, names_hash=names_hash)
    catch_all = vhost.catch_all_text(target, tls=tls, fallback=fallback, private_domains=private_domains)
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
    found = re.search(r"^(?:location \^~ /p/([a-z0-9-]+)/ \{|    server_name ([a-z0-9-]+)\..*;)$", text, re.MULTILINE)
    return (found[1] or found[2]) if found and is_ours(text) else ""


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
    text = _HASHED.sub(_redacted, content.text)
    mode = f"# mode {content.mode:04o}\n" if content.mode not in (0o644, 0o600) else ""
    return mode + text


def _redacted(found: re.Match[str]) -> str:
    # Enough to see that a password is another one.
    return f"{found[1]}:<redacted sha256:{short_hash(found[2])}>"


def _line(text: str) -> str:
    return f"{text}\n" if text else ""
