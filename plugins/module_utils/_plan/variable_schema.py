# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The `variables` section of a template, and the check of one value against its variable."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan.dotenv import unusable
from ansible_collections.serverkit.core.plugins.module_utils._plan.problems import Problems, did_you_mean
from ansible_collections.serverkit.core.plugins.module_utils._values.names import variable_name
from ansible_collections.serverkit.core.plugins.module_utils._values.template import (
    Encoding,
    Variable,
    VariableType,
)

KEYS = frozenset(
    ("name", "description", "label", "type", "default", "required", "hidden", "secret", "generate", "length", "bytes")
    + ("encoding", "special_chars", "pattern", "min", "max", "choices", "options")
)
TYPES: Mapping[str, VariableType] = {
    "string": "string",
    "integer": "integer",
    "boolean": "boolean",
    "port": "port",
    "password": "password",
    "random": "random",
    "uuid": "uuid",
}
ENCODINGS: Mapping[str, Encoding] = {
    "alphanumeric": "alphanumeric",
    "hex": "hex",
    "base64": "base64",
    "base64url": "base64url",
}
GENERATED_TYPES = frozenset({"password", "random", "uuid"})
# Set by the collection itself: a template may use them without declaring them, and nobody can give them a value.
BUILT_IN = frozenset({"APP_NAME"})

MAX_LENGTH = 4096  # characters, or bytes, of a generated value
_DEFAULT_LENGTHS = {"password": 32, "random": 16}
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
# What Docker's and Compose's programs read from the environment, and so from `.env`: a variable with such a name would
# steer them (https://docs.docker.com/compose/how-tos/environment-variables/envvars/).
_STEERING = re.compile(
    r"COMPOSE_\w+|DOCKER_(?:HOST|CONTEXT|CONFIG|TLS|TLS_VERIFY|CERT_PATH|API_VERSION|BUILDKIT|DEFAULT_PLATFORM"
    r"|CONTENT_TRUST\w*|HIDE_LEGACY_COMMANDS|CLI_\w+|CUSTOM_HEADERS)|BUILDKIT_\w+|BUILDX_\w+"
)


def parse(section: Any, problems: Problems) -> tuple[Variable, ...]:
    """Return the variables that a section declares, as a list or as a mapping by name."""
    variables: dict[str, Variable] = {}
    for key, name, item in _items(section, problems):
        if not isinstance(item, dict):
            problems.add(key, "it is not a mapping")
            continue
        try:
            variable_name(name)
        except InputError as error:
            problems.add(key, f"{name!r} is not a variable's name: {error.reason}")
            continue
        if name in variables:
            problems.add(key, f"the variable {name} is declared twice")
        elif name in BUILT_IN:
            problems.warnings.append(f"{key}: {name} is set by the collection; the declaration does nothing")
        elif _STEERING.fullmatch(name):
            problems.add(key, f"{name} is a setting of Docker's own programs and cannot be a variable")
        else:
            variables[name] = _Item(key, item, problems).variable(name)
    return tuple(variables.values())


def flag(value: Any, key: str, problems: Problems) -> bool:
    """Return a boolean; `yes` and the like count too, since YAML 1.1 reads them as such."""
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text not in _TRUE | _FALSE:
        problems.add(key, f"{value!r} is neither true nor false")
    return text in _TRUE


def to_text(value: Any) -> str:
    """Return a scalar from YAML as the text that Compose would make of it.

    :raises ValueError: when it is not a scalar.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError("it is not a text, a number or a boolean")


def check(variable: Variable, value: str) -> str:
    """Return why a value does not suit its variable, or an empty text when it does. Never shows a sensitive value."""
    shown = "the value" if variable.sensitive else repr(value)
    problem = unusable(value)
    if problem:
        return problem
    if variable.choices and value not in variable.choices:
        hint = "" if variable.sensitive else did_you_mean(value, variable.choices)
        return f"{shown} is not one of {', '.join(variable.choices)}{hint}"
    if variable.type in ("integer", "port"):
        return _check_number(variable, value, shown)
    if variable.type == "boolean" and value not in ("true", "false"):
        return f"{shown} is neither true nor false"
    if variable.pattern and not re.fullmatch(variable.pattern, value):
        return f"{shown} does not match the pattern {variable.pattern}"
    if variable.minimum is not None and len(value) < variable.minimum:
        return f"{shown} has {len(value)} characters, and at least {variable.minimum} are needed"
    if variable.maximum is not None and len(value) > variable.maximum:
        return f"{shown} has {len(value)} characters, and at most {variable.maximum} are allowed"
    return ""


def _check_number(variable: Variable, value: str, shown: str) -> str:
    if not re.fullmatch(r"-?[0-9]{1,18}", value):
        return f"{shown} is not a whole number"
    number = int(value)
    if variable.type == "port" and not 1 <= number <= 65535:
        return f"{shown} is not a port number from 1 to 65535"
    if variable.minimum is not None and number < variable.minimum:
        return f"{shown} is less than {variable.minimum}"
    if variable.maximum is not None and number > variable.maximum:
        return f"{shown} is greater than {variable.maximum}"
    return ""


def _items(section: Any, problems: Problems) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(section, dict):
        for name, item in section.items():
            yield f"variables.{name}", name, {} if item is None else item
    elif isinstance(section, list):
        for number, item in enumerate(section):
            name = item.get("name") if isinstance(item, dict) else None
            label = f"({name})" if isinstance(name, str) else ""
            yield f"variables[{number}]{label}", name, item
    elif section is not None:
        problems.add("variables", "it is neither a list nor a mapping")


class _Item:
    """Reads the declaration of one variable."""

    def __init__(self, key: str, item: Mapping[str, Any], problems: Problems) -> None:
        self._key = key
        self._item = item
        self._problems = problems

    def variable(self, name: str) -> Variable:
        before = len(self._problems.found)
        for key in self._item:
            if key not in KEYS and not key.startswith("x-"):
                self._problems.unknown_key(f"{self._key}.{key}", key, KEYS)
        kind = self._type()
        default = self._default(kind)
        required = self._flag("required")
        generated = self._generated(kind, default, required)
        variable = Variable(
            name=name,
            type=kind,
            description=self._text("description") or self._text("label"),
            default=default,
            required=required,
            hidden=self._flag("hidden"),
            generated=generated,
            sensitive=generated or kind in GENERATED_TYPES or self._flag("secret"),
            length=self._number("length", 1, MAX_LENGTH) or self._default_length(kind, generated),
            bytes=self._number("bytes", 1, MAX_LENGTH),
            encoding=self._encoding(),
            special_chars=self._flag("special_chars"),
            pattern=self._pattern(),
            minimum=self._number("min"),
            maximum=self._number("max"),
            choices=self._choices(),
        )
        if len(self._problems.found) == before:
            self._check_consistency(variable)
        return variable

    def _check_consistency(self, variable: Variable) -> None:
        low, high = variable.minimum, variable.maximum
        if low is not None and high is not None and low > high:
            self._add("min", f"{low} is greater than max, {high}")
        if self._item.get("length") is not None and variable.bytes is not None:
            self._add("bytes", "it excludes length")
        if (variable.bytes or variable.encoding) and not variable.generated and variable.type not in GENERATED_TYPES:
            self._add("encoding" if variable.encoding else "bytes", "it is for generated values only")
        if variable.type == "port" and variable.sensitive:
            self._add("secret", "a port cannot be secret")
        if variable.default is not None:
            problem = check(variable, variable.default)
            if problem:
                self._add("default", problem)

    def _add(self, key: str, reason: str) -> None:
        self._problems.add(f"{self._key}.{key}", reason)

    def _text(self, key: str) -> str:
        value = self._item.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | int | float)):
            self._add(key, "it is not a text")
        return "" if value is None else str(value)

    def _flag(self, key: str) -> bool:
        return flag(self._item.get(key) or False, f"{self._key}.{key}", self._problems)

    def _number(self, key: str, low: int | None = None, high: int | None = None) -> int | None:
        value = self._item.get(key)
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value):
            value = int(value)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self._add(key, f"{value!r} is not a whole number")
            return None
        if (low is not None and value < low) or (high is not None and value > high):
            self._add(key, f"{value} is not from {low} to {high}")
        return value

    def _type(self) -> VariableType:
        value = self._item.get("type")
        if value is None:
            # A value that is generated as a password is one, whatever the variable was not said to be.
            generate = self._item.get("generate")
            return TYPES[generate] if isinstance(generate, str) and generate in GENERATED_TYPES else "string"
        if not isinstance(value, str) or value not in TYPES:
            self._add("type", f"{value!r} is not one of {', '.join(TYPES)}{did_you_mean(value, TYPES)}")
            return "string"
        return TYPES[value]

    def _default(self, kind: VariableType) -> str | None:
        value = self._item.get("default")
        if value is None or (value == "" and kind != "string"):
            return None
        try:
            text = to_text(value)
        except ValueError as error:
            self._add("default", str(error))
            return None
        return normal(kind, text)

    def _generated(self, kind: VariableType, default: str | None, required: bool) -> bool:
        wish = self._item.get("generate")
        if isinstance(wish, str) and wish in GENERATED_TYPES:
            return default is None
        if wish is not None:
            return flag(wish, f"{self._key}.generate", self._problems) and default is None
        # A password that is required is one that the user knows, such as that of a mail server.
        return default is None and (kind in ("random", "uuid") or (kind == "password" and not required))

    def _default_length(self, kind: VariableType, generated: bool) -> int | None:
        low, high = self._item.get("min"), self._item.get("max")
        if not generated or kind == "uuid" or self._item.get("bytes") is not None:
            return None
        length = _DEFAULT_LENGTHS.get(kind, _DEFAULT_LENGTHS["password"])
        length = max(length, low) if isinstance(low, int) else length
        return min(length, high) if isinstance(high, int) else length

    def _encoding(self) -> Encoding | None:
        value = self._item.get("encoding")
        if value is None:
            return None
        if not isinstance(value, str) or value not in ENCODINGS:
            self._add("encoding", f"{value!r} is not one of {', '.join(ENCODINGS)}{did_you_mean(value, ENCODINGS)}")
            return None
        return ENCODINGS[value]

    def _pattern(self) -> str:
        pattern = self._text("pattern")
        try:
            re.compile(pattern)
        except re.error as error:
            self._add("pattern", f"it is not a regular expression: {error}")
        return pattern

    def _choices(self) -> tuple[str, ...]:
        key = "choices" if self._item.get("choices") is not None else "options"
        value = self._item.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not value:
            self._add(key, "it is not a list of values")
            return ()
        # Panels write {label: ..., value: ...} for what they show and what they store.
        plain = [item.get("value") if isinstance(item, dict) else item for item in value]
        try:
            return tuple(to_text(item) for item in plain)
        except ValueError as error:
            self._add(key, f"an item of it cannot be a value: {error}")
            return ()


def normal(kind: VariableType, text: str) -> str:
    """Return a value in the one notation of its type: booleans as `true` and `false`, numbers without blanks."""
    if kind == "boolean":
        lower = text.strip().lower()
        return "true" if lower in _TRUE else "false" if lower in _FALSE else text
    return text.strip() if kind in ("integer", "port") else text
