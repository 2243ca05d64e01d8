# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The controller's half of serverkit_app: finds the templates, keeps secrets out of sight, shows diffs as YAML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.serverkit.core.plugins.module_utils._errors import ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.template_files import dump_yaml
from ansible_collections.serverkit.core.plugins.plugin_utils.templates import LoadedTemplate, TemplateLibrary

_MODULE = "serverkit.core.serverkit_app"
_JSON = " (json)"


class ActionModule(ActionBase):
    """Hands the templates of a task over to the module."""

    _supports_check_mode = True
    _supports_async = True
    _requires_connection = True

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = _plain(self._task.args)
        if not arguments.get("remote_src"):
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
        for item in _items(arguments):
            name = item.get("template")
            if not name or not isinstance(name, str) or item.get("state") == "absent":
                continue
            try:
                loaded = library.load(name)
                definitions[name] = _definition(loaded)
            except ServerkitError as error:
                definitions[name] = {"error": [error.attempted, error.reason, error.remedy]}
            else:
                _move_secrets(item, loaded)
        return definitions


def _plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments without Ansible's tags, which not every library understands."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(arguments)))
    except TypeError as error:
        raise AnsibleActionFail(f"The arguments of {_MODULE} hold something that JSON cannot carry: {error}") from error
    return plain


def _items(arguments: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the items of a task; what is malformed is left for the module to refuse."""
    apps = arguments.get("apps")
    for item in apps if isinstance(apps, list) else [arguments]:
        if isinstance(item, dict):
            yield item


def _definition(loaded: LoadedTemplate) -> dict[str, Any]:
    try:
        text = Path(loaded.path).read_text(encoding="utf-8")
    except OSError as error:
        raise AnsibleActionFail(f"Could not read {loaded.path}: {error.strerror}") from error
    return {"document": loaded.document, "text": text, "source": loaded.path}


def _move_secrets(item: dict[str, Any], loaded: LoadedTemplate) -> None:
    """Move what the template calls secret from `variables` to `secrets`, which Ansible neither shows nor logs."""
    given, secrets = item.get("variables"), item.get("secrets") or {}
    if not isinstance(given, dict) or not isinstance(secrets, dict):
        return
    hidden = {variable.name for variable in loaded.template.variables if variable.sensitive or variable.generated}
    moved = {name: value for name, value in given.items() if name in hidden and name not in secrets}
    if moved:
        item["variables"] = {name: value for name, value in given.items() if name not in moved}
        item["secrets"] = {**secrets, **moved}


def _tidy(result: dict[str, Any]) -> None:
    """Take out what is of no use to anybody, and write as YAML what a host without PyYAML could only write as JSON."""
    (result.get("invocation") or {}).get("module_args", {}).pop("definitions", None)
    for diff in result.get("diff") or []:
        header = diff.get("after_header", "")
        if header.endswith(_JSON):
            diff["after"] = dump_yaml(json.loads(diff["after"]))
            diff["before_header"] = diff["after_header"] = header.removesuffix(_JSON)
