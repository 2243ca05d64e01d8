# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Between AnsibleModule and the rest: argument specs, the host's edges, results and the one `fail_json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import ModuleCommands
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import settings
from ansible_collections.serverkit.core.plugins.module_utils._plan.redaction import encoded_forms
from ansible_collections.serverkit.core.plugins.module_utils._runner.core import Named, Resource, converge
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Outcome, Plan

W = TypeVar("W", bound=Named)
P = TypeVar("P", bound=Plan)
Options = dict[str, Any]

_SHORTEST_SECRET = 4  # characters

# Documented in the fragment serverkit.core._registry.
REGISTRY_OPTIONS: Options = {
    "registry_dsn": {"type": "str", "no_log": True},
    "registry_host": {"type": "str"},
}


def one_or_list(item: Options, list_option: str, key: str, more: Options | None = None) -> Options:
    """Return an argument spec that takes one item's options at top level, or a list of such items.

    :param item: the options of one item.
    :param list_option: the name of the option that takes the list.
    :param key: the option that names an item: required in the list, and at top level unless a list is given.
    :param more: options of the task as a whole.
    """
    listed = {name: dict(option) for name, option in item.items()}
    listed[key]["required"] = True
    return {
        **item,
        list_option: {"type": "list", "elements": "dict", "options": listed},
        **REGISTRY_OPTIONS,
        **(more or {}),
    }


class _Module(AnsibleModule):  # type: ignore[misc] # ansible-core has no types
    """Tells how it was called, but for secrets: on the host, in its log, and in results."""

    _accepted = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._accepted = True

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        # Ansible shows how a module was called, with all that it has not found to be a secret: neither what a name that
        # it does not know has, nor, when a text stands where a mapping belongs, anything at all.
        if not self._accepted:
            result = {**result, "invocation": {"module_args": {}}}
        super().fail_json(msg, **result)
        raise AssertionError("fail_json returned")

    def _log_invocation(self) -> None:
        # Ansible logs a list of items as Python writes it, and looks for secrets in that text as they are: one with a
        # quote, a backslash or a line break is written otherwise there, and would be logged.
        shown = _without_secrets(self.params, self.argument_spec)
        self.log(f"Invoked with {json.dumps(shown, ensure_ascii=False, default=str)}")


def run_module(
    argument_spec: Options,
    *,
    list_option: str,
    key: str,
    parse: Callable[[Mapping[str, Any]], W],
    make_resource: Callable[[Host, Mapping[str, Any]], Resource[W, P]],
    label: Callable[[Mapping[str, Any]], str] | None = None,
) -> NoReturn:
    """Run a state module from its arguments to its result.

    :param parse: makes a valid item of one item's options, or raises InputError.
    :param make_resource: makes the resource from the host and the task's options.
    :param label: what to call an item that cannot be parsed, where its key option alone does not tell it apart.
    """
    module = _Module(
        argument_spec=argument_spec,
        supports_check_mode=True,
        required_one_of=[(key, list_option)],
        mutually_exclusive=[(key, list_option)],
    )
    outcomes: list[Outcome] = []
    try:
        host = _host(module)
        items = _items(module.params, list_option, argument_spec)
        name = label or (lambda options: str(options.get(key)))
        wanted = [_parse(parse, options, name) for options in items]
        outcomes = converge(make_resource(host, module.params), wanted, check=module.check_mode)
    except ServerkitError as error:
        module.fail_json(msg=str(error), results=[])
    _exit(module, list_option, outcomes)


def _host(module: AnsibleModule) -> Host:
    # Every value of a secret dictionary counts as one, such as the port of a DNS server: hiding a number that short
    # would blot out digits of dates and sizes all over the result, and nobody is kept out by a secret that short.
    def hide(secret: str) -> None:
        if len(secret) >= _SHORTEST_SECRET:
            module.no_log_values.update(encoded_forms(secret))

    module.no_log_values -= {secret for secret in module.no_log_values if len(str(secret)) < _SHORTEST_SECRET}
    # Templates are hidden for their length only.
    for secret in module.no_log_values - {module.params.get("definitions")}:
        hide(str(secret))
    stored = settings.load()
    chosen = settings.Settings(
        registry_dsn=module.params.get("registry_dsn") or stored.registry_dsn,
        registry_host=module.params.get("registry_host") or stored.registry_host,
    )
    hide(chosen.registry_dsn)
    return Host(ModuleCommands(module), chosen, module.check_mode, hide)


def _without_secrets(params: Mapping[str, Any], spec: Options) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, option in spec.items():
        value = params.get(name)
        if value is None or option.get("no_log"):
            continue
        if "options" in option:
            options = option["options"]
            listed = option["type"] == "list"
            value = [_without_secrets(item, options) for item in value] if listed else _without_secrets(value, options)
        shown[name] = value
    return shown


def _items(params: Mapping[str, Any], list_option: str, spec: Options) -> list[Mapping[str, Any]]:
    if params[list_option] is not None:
        return list(params[list_option])
    names = spec[list_option]["options"]
    return [{name: params[name] for name in names}]


def _parse(
    parse: Callable[[Mapping[str, Any]], W], options: Mapping[str, Any], label: Callable[[Mapping[str, Any]], str]
) -> W | Failure:
    try:
        return parse(options)
    except InputError as error:
        return Failure(label(options), error)


def _exit(module: AnsibleModule, list_option: str, outcomes: Sequence[Outcome]) -> NoReturn:
    result: dict[str, Any] = {
        "changed": any(outcome.changed for outcome in outcomes),
        "results": [_item_result(outcome) for outcome in outcomes],
    }
    if module._diff:
        result["diff"] = [diff.as_result() for outcome in outcomes for diff in outcome.diffs]
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    for outcome in outcomes:
        if not isinstance(outcome, Failure):
            for warning in outcome.warnings:
                module.warn(f"{outcome.name}: {warning}")
    if failures:
        module.fail_json(msg=_summary(failures, len(outcomes), list_option), **result)
    module.exit_json(**result)
    raise AssertionError("exit_json returned")


def _item_result(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, Failure):
        return {
            "name": outcome.name,
            "changed": outcome.changed,
            "failed": True,
            "msg": str(outcome.error),
            "rolled_back": list(outcome.rolled_back),
            "not_rolled_back": list(outcome.not_rolled_back),
        }
    return {**outcome.facts, "name": outcome.name, "changed": outcome.changed}


def _summary(failures: Sequence[Failure], total: int, list_option: str) -> str:
    if total == 1:
        return str(failures[0].error)
    listed = " ".join(f"[{failure.name}] {failure.error}" for failure in failures)
    return f"{len(failures)} of {total} {list_option} failed, the others are done. {listed}"
