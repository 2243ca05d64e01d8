# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""From a draft to a target: the files of a release, its template's and its links'."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import template_files
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._plan import compose as compose_plan
from ansible_collections.serverkit.core.plugins.module_utils._plan import dotenv, linked_template, variables
from ansible_collections.serverkit.core.plugins.module_utils._plan import links as link_plan
from ansible_collections.serverkit.core.plugins.module_utils._runner.app_plan import (
    Draft,
    Links,
    Target,
    description,
    environment,
    maybe_secret,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.app import (
    COMPOSE_FILE,
    DESCRIPTION_FILE,
    ENVIRONMENT_FILE,
    Release,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.links import (
    COMPOSE_FILES_KEY,
    LINKS_FILE,
    secret_values,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.template import (
    DatabaseUse,
    Rendered,
    RenderedFile,
    Template,
    Values,
)

_LINKS_COMMENT = "# Written by serverkit.core from the app's linked databases; the next run writes it anew.\n"


def render(draft: Draft, ports: Mapping[str, int]) -> Target:
    """Return the release that an app's template and values make with these ports.

    :raises InputError: when a value is not valid, or a rule of the template is broken.
    """
    if draft.source is None:
        return as_deployed(draft)
    template, request = draft.source.template, draft.request
    resolved = variables.resolve(
        template,
        request.name,
        given=request.variables,
        secrets=request.secrets,
        stored=draft.stored,
        ports=ports,
        generated=draft.generated,
    )
    linked = draft.linked_environment
    links = draft.links
    resolved = linked_template.with_link(resolved, template.database, links.engines, links.rows or (), linked)
    rendered = compose_plan.render(template, request.name, resolved, request.publish)
    override = _override(draft, rendered)
    release, text = _release(draft, template, rendered)
    dormant = {name: draft.stored[name] for name in sorted(draft.dormant & draft.stored.keys())}
    env = {**dormant, **rendered.environment, **_linked(linked, override)}
    return Target(
        release=release,
        files={**rendered.files, **_files(release, text, env, override)},
        secrets=(*_secrets(template, resolved), *dormant.values(), *secret_values(linked)),
        warnings=(*template.warnings, *rendered.warnings),
        notes=rendered.notes,
    )


def as_deployed(draft: Draft) -> Target:
    """Return the release that is in place, for a task that names no template.

    :raises InputError: when there is none.
    """
    release = description(draft)
    if release is None or COMPOSE_FILE not in draft.files:
        raise InputError(
            f"converge the app {draft.name}", "it is not deployed on this host", "Name the template to deploy it from"
        )
    secrets = tuple(value for value in maybe_secret(draft.stored) if len(value) >= 4)
    return Target(release, dict(draft.files), secrets)


def relinked(draft: Draft, links: Mapping[str, str]) -> Target:
    """Return the release that is in place, with the draft's links instead of its own.

    :param links: what `.env` is to hold of them.
    :raises InputError: when there is no release.
    """
    present = as_deployed(draft)
    document = template_files.parse_yaml(draft.files[COMPOSE_FILE].content, COMPOSE_FILE)
    override = _override_text(draft.links, document, present.release.database)
    release = replace(present.release, linked=draft.links.recorded)
    others = {name: value for name, value in environment(draft.files).items() if name not in draft.linked_environment}
    files = {path: file for path, file in draft.files.items() if path != LINKS_FILE}
    text = draft.files[COMPOSE_FILE].content
    files.update(_files(release, text, {**others, **_linked(links, override)}, override))
    return Target(release, files, (*others.values(), *secret_values(links), *secret_values(draft.linked_environment)))


def document_of(files: Mapping[str, RenderedFile]) -> dict[str, Any]:
    """Return what each service is made of: its part of the Compose file, and of that of the links."""
    found: dict[str, Any] = {}
    for path in (COMPOSE_FILE, LINKS_FILE):
        if path in files:
            services = template_files.parse_yaml(files[path].content, path).get("services") or {}
            for name, service in services.items():
                found.setdefault(name, {})[path] = service
    return found


def _override(draft: Draft, rendered: Rendered) -> str:
    """Return the text of the links' Compose file; the one in place, where the registry has lost the links."""
    if draft.links.rows is None:
        return draft.files[LINKS_FILE].content if LINKS_FILE in draft.files else ""
    use = draft.source.template.database if draft.source else None
    return _override_text(draft.links, rendered.compose, use)


def _override_text(links: Links, document: Mapping[str, Any], use: DatabaseUse | None) -> str:
    override = link_plan.override(links.rows or (), document, use)
    return _LINKS_COMMENT + _yaml(override) if override else ""


def _linked(links: Mapping[str, str], override: str) -> dict[str, str]:
    """Return what `.env` holds of links; with a second Compose file, a person's `docker compose` reads it, too."""
    found = {name: value for name, value in links.items() if name != COMPOSE_FILES_KEY}
    return {**found, COMPOSE_FILES_KEY: f"{COMPOSE_FILE}:{LINKS_FILE}"} if override else found


def _release(draft: Draft, template: Template, rendered: Rendered) -> tuple[Release, str]:
    """Return the description of a release, and the text of its Compose file."""
    key = decide.document_key(rendered.compose)
    text = _compose_text(draft, key, rendered)
    release = Release(
        template=template.id,
        version=template.version,
        publish=draft.request.publish,
        services=rendered.services,
        published=rendered.published,
        main=rendered.main,
        health=rendered.health,
        probe=template.health.type if template.health else "auto",
        hooks=template.hooks,
        compose_key=key,
        compose_text=decide.text_key(text),
        database=template.database,
        linked=draft.links.recorded,
        backup=template.backup,
    )
    return release, text


def _compose_text(draft: Draft, key: str, rendered: Rendered) -> str:
    """Return the Compose document as text; the file in place, when it was made of the same document and not edited."""
    present = description(draft)
    text = draft.files[COMPOSE_FILE].content if COMPOSE_FILE in draft.files else ""
    if present and present.compose_key == key and present.compose_text == decide.text_key(text):
        return text
    return _yaml(rendered.compose)


def _yaml(document: Mapping[str, Any]) -> str:
    if not template_files.available():
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return template_files.dump_yaml(document)


def _files(release: Release, compose_text: str, env: Mapping[str, str], override: str) -> dict[str, RenderedFile]:
    return {
        COMPOSE_FILE: RenderedFile(compose_text, 0o644),
        ENVIRONMENT_FILE: RenderedFile(dotenv.encode(env), 0o600),
        DESCRIPTION_FILE: RenderedFile(decide.describe(release), 0o644),
        **({LINKS_FILE: RenderedFile(override, 0o644)} if override else {}),
    }


def _secrets(template: Template, resolved: Values) -> tuple[str, ...]:
    # A default stands in the template for everybody to read. Masking it would mask every other place where it occurs,
    # and one such as "admin" or "wordpress" occurs in names.
    public = {variable.name: variable.default for variable in template.variables}
    return tuple(
        value
        for name, value in resolved.sensitive.items()
        if value and value != public.get(name) and name not in resolved.aliases
    )
