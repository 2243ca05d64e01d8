# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of serverkit_app: finds the templates, keeps secrets out of sight, shows diffs as YAML."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.serverkit.core.plugins.module_utils._errors import ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files
from ansible_collections.serverkit.core.plugins.module_utils._gateways.template_files import dump_yaml, parse_yaml
from ansible_collections.serverkit.core.plugins.module_utils._module import REGISTRY_OPTIONS
from ansible_collections.serverkit.core.plugins.module_utils._plan import template_schema
from ansible_collections.serverkit.core.plugins.module_utils._values import app as values
from ansible_collections.serverkit.core.plugins.module_utils._values.template import Template
from ansible_collections.serverkit.core.plugins.modules.serverkit_app import APP, TASK
from ansible_collections.serverkit.core.plugins.plugin_utils import hiding
from ansible_collections.serverkit.core.plugins.plugin_utils.templates import LoadedTemplate, TemplateLibrary

_MODULE = "serverkit.core.serverkit_app"
_TASK_OPTIONS = frozenset({*APP, *TASK, *REGISTRY_OPTIONS, "apps"})
_JSON = " (json)"


class ActionModule(ActionBase):
    """Hands the templates of a task over to the module."""

    _supports_check_mode = True
    _supports_async = True
    _requires_connection = True

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = hiding.with_items(_plain(self._task.args))
        if boolean(arguments.get("remote_src") or False, strict=False):
            self._hide_with_templates_of_host(arguments, task_vars)
        else:
            definitions = self._definitions(arguments, self._library(task_vars))
            arguments["definitions"] = json.dumps(definitions)
        result.update(
            self._execute_module(
                module_name=_MODULE, module_args=arguments, task_vars=task_vars, wrap_async=self._task.async_val
            )
        )
        _tidy(result)
        return result

    def _library(self, task_vars: Mapping[str, Any]) -> TemplateLibrary:
        paths = self._templar.template(task_vars.get("serverkit_template_paths") or [])
        return TemplateLibrary(
            [str(path) for path in self._task.get_search_path()],
            [str(path) for path in ([paths] if isinstance(paths, str) else paths)],
            str(task_vars.get("playbook_dir") or ""),
        )

    def _definitions(self, arguments: Mapping[str, Any], library: TemplateLibrary) -> dict[str, Any]:
        """Load the template of each app; one that cannot be had fails its own apps only, and the module says so."""
        definitions: dict[str, Any] = {}
        for item in hiding.items(arguments):
            name, template = item.get("template"), None
            if name and isinstance(name, str) and item.get("state") != "absent":
                try:
                    loaded = library.load(name)
                    definitions[name], template = _definition(loaded), loaded.template
                except ServerkitError as error:
                    definitions[name] = {"error": [error.attempted, error.reason, error.remedy]}
            hiding.hide(item, template, _options(item, arguments))
        return definitions

    def _hide_with_templates_of_host(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> None:
        """Ask the host for its templates, to know which variables are secret; the module reads them again itself."""
        templates: dict[str, Template | None] = {}
        for item in hiding.items(arguments):
            name = item.get("template")
            if isinstance(name, str) and name not in templates and item.get("state") != "absent":
                templates[name] = self._template_of_host(name, task_vars)
            template = templates.get(name) if isinstance(name, str) else None
            hiding.hide(item, template, _options(item, arguments))

    def _template_of_host(self, name: str, task_vars: dict[str, Any]) -> Template | None:
        """Return the host's copy of a template, or None when the module will say what is wrong with it."""
        try:
            path = app_files.template_path(values.template_id(name))
            found = self._execute_module(
                module_name="ansible.builtin.slurp", module_args={"src": path}, task_vars=task_vars
            )
            text = base64.b64decode(found.get("content") or "").decode()
            return template_schema.parse(parse_yaml(text, path), path) if text else None
        except (ServerkitError, UnicodeDecodeError):
            return None


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments without Ansible's tags, which not every library understands."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(arguments)))
    except TypeError as error:
        raise AnsibleActionFail(f"The arguments of {_MODULE} hold something that JSON cannot carry: {error}") from error
    return plain


def _options(item: Mapping[str, Any], arguments: Mapping[str, Any]) -> Collection[str]:
    return _TASK_OPTIONS if item is arguments else APP


def _definition(loaded: LoadedTemplate) -> dict[str, Any]:
    try:
        text = Path(loaded.path).read_text(encoding="utf-8")
    except OSError as error:
        raise AnsibleActionFail(f"Could not read {loaded.path}: {error.strerror}") from error
    return {"document": loaded.document, "text": text, "source": loaded.path}


def _tidy(result: dict[str, Any]) -> None:
    """Take out what is of no use to anybody, and write as YAML what a host without PyYAML could only write as JSON."""
    (result.get("invocation") or {}).get("module_args", {}).pop("definitions", None)
    for diff in result.get("diff") or []:
        header = diff.get("after_header", "")
        if header.endswith(_JSON):
            diff["after"] = dump_yaml(json.loads(diff["after"]))
            diff["before_header"] = diff["after_header"] = header.removesuffix(_JSON)
