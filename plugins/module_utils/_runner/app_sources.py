# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The templates of one task, each parsed once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files, template_files
from ansible_collections.serverkit.core.plugins.module_utils._plan import template_schema
from ansible_collections.serverkit.core.plugins.module_utils._values import app as values
from ansible_collections.serverkit.core.plugins.module_utils._values.template import Template


@dataclass(frozen=True)
class Source:
    """A template and the text that it was parsed from."""

    template: Template
    text: str


class Sources:
    """Finds templates by the names that a task uses for them."""

    def __init__(self, definitions: Mapping[str, Any], *, on_host: bool) -> None:
        """
        :param definitions: what the action plugin found: by the name that the task uses, `document`, `text` and
            `source`, or `error` with the arguments of an InputError.
        :param on_host: read the host's own copies instead.
        """
        self._definitions = definitions
        self._on_host = on_host
        self._parsed: dict[str, Source | ServerkitError] = {}

    def find(self, name: str) -> Source:
        """Return a template by the name that the task uses.

        :raises InputError: when there is none, or it is not valid.
        :raises HostError: when the host's copy cannot be read.
        """
        if name not in self._parsed:
            try:
                self._parsed[name] = self._load_from_host(name) if self._on_host else self._load(name)
            except ServerkitError as error:
                self._parsed[name] = error
        found = self._parsed[name]
        if isinstance(found, ServerkitError):
            raise found
        return found

    def _load(self, name: str) -> Source:
        definition = self._definitions.get(name)
        if definition is None:
            raise InputError(
                f"find the template {name}",
                "the controller did not hand it over",
                "Call the module by its full name, serverkit.core.serverkit_app, so that its action plugin runs",
            )
        if "error" in definition:
            raise InputError(*definition["error"])
        template = template_schema.parse(definition["document"], definition["source"])
        values.template_id(template.id)
        return Source(template, definition["text"])

    def _load_from_host(self, name: str) -> Source:
        text = app_files.read_template(values.template_id(name))
        path = app_files.template_path(name)
        if not text:
            raise InputError(f"find the template {name}", f"there is no {path} on the host", "Leave remote_src out")
        return Source(template_schema.parse(template_files.parse_yaml(text, path), path), text)
