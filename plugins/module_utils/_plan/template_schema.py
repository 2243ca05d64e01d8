# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The template format: from a parsed YAML document to a `Template`, or one error that lists every problem.

`docs/templates.md` explains the format and `docs/template.schema.json` describes it for editors; tests keep the three
in step. Files written for ServerKit are valid as they are: an unknown key is only warned about, unless it looks like a
misspelt known one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan import (
    backup_schema,
    database_schema,
    interpolation,
    variable_schema,
)
from ansible_collections.serverkit.core.plugins.module_utils._plan.documents import texts
from ansible_collections.serverkit.core.plugins.module_utils._plan.dotenv import unusable
from ansible_collections.serverkit.core.plugins.module_utils._plan.problems import Problems, did_you_mean
from ansible_collections.serverkit.core.plugins.module_utils._values.template import (
    Health,
    HealthType,
    Hook,
    Template,
    TemplateFile,
    Variable,
)

# What is for people and catalogues, and means nothing to a deployment.
_INFORMATION = ("icon", "website", "categories", "ports", "volumes", "requirements")
_SCRIPTS = ("pre_install", "post_install", "pre_update", "post_update")
KEYS = frozenset(
    ("id", "name", "version", "description", "documentation", "variables", "compose", "files", "dockerfile")
    + ("main_service", "main_port", "health", "database", "backup", "hooks", "scripts")
    + _INFORMATION
    + _SCRIPTS
)
FILE_KEYS = frozenset({"path", "content", "service", "services", "mode", "substitute"})
HEALTH_KEYS = frozenset({"type", "path", "status", "timeout"})
HEALTH_TYPES: Mapping[str, HealthType] = {"auto": "auto", "http": "http", "tcp": "tcp", "none": "none"}
HOOK_EVENTS = ("pre_deploy", "post_deploy", "pre_remove")
HOOK_KEYS = frozenset({"service", "command"})

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SERVICE = re.compile(r"[A-Za-z0-9._-]+")  # compose-spec's pattern for keys of `services`
_EXPOSE = re.compile(r"^\s*EXPOSE\s+(\d+)(?:/tcp)?\s*$", re.IGNORECASE | re.MULTILINE)
_STATUS = re.compile(r"([1-5]\d\d)(?:-([1-5]\d\d))?")
_MAX_TIMEOUT = 3600


def parse(document: Mapping[str, Any], source: str) -> Template:
    """Return the template that a document describes.

    :param document: what `template_files.parse_yaml` returned, or the same from JSON.
    :param source: the file's path, for messages; its stem is the template's id where the document has none.
    :raises InputError: listing every problem as `file: key: reason`.
    """
    problems = Problems()
    _check_texts(document, "", problems)
    template = _Document(document, source, problems).template() if not problems.found else None
    if template is None or problems.found:
        reason = "; ".join(f"{source}: {problem}" for problem in problems.found)
        raise InputError(f"use the template {PurePosixPath(source).stem}", reason)
    return template


class _Document:
    """Reads a document's keys one by one; what is wrong goes to `problems`, and reading goes on."""

    def __init__(self, document: Mapping[str, Any], source: str, problems: Problems) -> None:
        self._document = document
        self._source = source
        self._problems = problems

    def template(self) -> Template:
        self._unknown_keys("", self._document, KEYS)
        variables = self._variables()
        dockerfile = self._text("dockerfile")
        compose = self._compose(variables, dockerfile)
        services = compose.get("services", {})
        main_service = self._main_service(services)
        names = [variable.name for variable in variables]
        return Template(
            id=self._id(),
            name=self._text("name", required=True),
            version=self._text("version", required=True),
            description=self._text("description"),
            documentation=self._text("documentation"),
            compose=compose,
            variables=variables,
            files=tuple(self._files(services)),
            dockerfile=dockerfile,
            main_service=main_service,
            main_port=self._main_port(variables),
            health=self._health(),
            database=database_schema.parse(
                self._document.get("database"), names, services, main_service, self._problems
            ),
            backup=backup_schema.parse(self._document.get("backup"), self._problems),
            hooks=self._hooks(services),
            shown_scripts=self._shown_scripts(),
            source=self._source,
            warnings=tuple(self._problems.warnings),
        )

    def _unknown_keys(self, where: str, mapping: Mapping[str, Any], known: Collection[str]) -> None:
        for key in mapping:
            if key not in known and not key.startswith("x-"):
                self._problems.unknown_key(f"{where}.{key}" if where else key, key, known)

    def _text(self, key: str, *, required: bool = False) -> str:
        value = self._document.get(key)
        if value is None:
            if required:
                self._problems.add(key, "it is missing")
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self._problems.add(key, "it is not a text")
            return ""
        if required and not str(value).strip():
            self._problems.add(key, "it is empty")
        return str(value)

    def _id(self) -> str:
        text = self._text("id") or PurePosixPath(self._source).stem
        if not _ID.fullmatch(text):
            self._problems.add("id", f"{text!r} is not 1 to 100 letters, digits, '.', '_' and '-'")
        return text

    def _mapping(self, key: str, value: Any) -> Mapping[str, Any]:
        if isinstance(value, dict):
            return value
        if value is not None:
            self._problems.add(key, "it is not a mapping")
        return {}

    def _list(self, key: str, value: Any) -> list[Any]:
        if isinstance(value, list):
            return value
        if value is not None:
            self._problems.add(key, "it is not a list")
        return []

    def _variables(self) -> tuple[Variable, ...]:
        return variable_schema.parse(self._document.get("variables"), self._problems)

    def _compose(self, variables: Iterable[Variable], dockerfile: str) -> Mapping[str, Any]:
        value = self._document.get("compose")
        if value is None and dockerfile:
            return _compose_for(dockerfile, variables)
        if value is None:
            self._problems.add("compose", "it is missing, and so is dockerfile")
        compose = self._mapping("compose", value)
        services = self._mapping("compose.services", compose.get("services"))
        if value is not None and isinstance(value, dict) and not services:
            self._problems.add("compose.services", "there is no service")
        for name, service in services.items():
            self._service(name, service)
        for key, text in texts(compose, "compose"):
            try:
                interpolation.names_in(text)
            except interpolation.ExpressionError as error:
                self._problems.add(key, f"{error}; write $$ for a dollar sign that starts no variable")
        return compose

    def _service(self, name: str, service: Any) -> None:
        key = f"compose.services.{name}"
        if not _SERVICE.fullmatch(name):
            self._problems.add(key, "a service's name has letters, digits, '.', '_' and '-'")
        if not isinstance(service, dict):
            self._problems.add(key, "it is not a mapping")
            return
        if not any(service.get(source) for source in ("image", "build", "extends")):
            self._problems.add(key, "it has neither image nor build")
        for listed in ("ports", "volumes"):
            self._list(f"{key}.{listed}", service.get(listed))
        container = service.get("container_name")
        if isinstance(container, str) and "$" not in container:
            self._problems.warnings.append(
                f"{key}.container_name: {container} is fixed, so only one app on a server can use this template"
            )

    def _files(self, services: Mapping[str, Any]) -> Iterator[TemplateFile]:
        seen: set[tuple[str, str]] = set()
        for number, item in enumerate(self._list("files", self._document.get("files"))):
            key = f"files[{number}]"
            if not isinstance(item, dict):
                self._problems.add(key, "it is not a mapping")
                continue
            self._unknown_keys(key, item, FILE_KEYS)
            file = TemplateFile(
                path=self._file_path(f"{key}.path", item.get("path")),
                content=self._file_content(f"{key}.content", item.get("content")),
                services=self._file_services(key, item, services),
                mode=self._mode(f"{key}.mode", item.get("mode", 0o644)),
                substitute=variable_schema.flag(item.get("substitute", True), f"{key}.substitute", self._problems),
            )
            for service in file.services or ("",):
                if (service, file.path) in seen:
                    self._problems.add(f"{key}.path", f"{file.path} is there twice")
                seen.add((service, file.path))
            yield file

    def _file_path(self, key: str, value: Any) -> str:
        if not isinstance(value, str) or not value.strip("./"):
            self._problems.add(key, "it is missing or not a path")
            return ""
        path = PurePosixPath(value)
        if ".." in path.parts or value.endswith("/") or re.search(r"[:\x00-\x1f\x7f]", value):
            self._problems.add(key, f"{value!r} is not a path of a file without '..' and ':'")
        return str(path)

    def _file_content(self, key: str, value: Any) -> str:
        if not isinstance(value, str):
            self._problems.add(key, "it is missing or not a text")
            return ""
        return value

    def _file_services(self, key: str, item: Mapping[str, Any], services: Mapping[str, Any]) -> tuple[str, ...]:
        names = self._list(f"{key}.services", item.get("services"))
        if item.get("service") is not None:
            names = [item["service"], *names]
        for name in names:
            self._known_service(f"{key}.service", name, services)
        return tuple(str(name) for name in names)

    def _known_service(self, key: str, name: Any, services: Mapping[str, Any]) -> None:
        if name not in services:
            self._problems.add(key, f"there is no service {name!r}{did_you_mean(name, services)}")

    def _mode(self, key: str, value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"0?[0-7]{3}", value):
            value = int(value, 8)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 0o777:
            self._problems.add(key, f'{value!r} is not a file mode such as "0644"')
            return 0o644
        return value

    def _main_service(self, services: Mapping[str, Any]) -> str:
        name = self._text("main_service")
        if name:
            self._known_service("main_service", name, services)
        return name

    def _main_port(self, variables: Iterable[Variable]) -> str:
        text = self._text("main_port")
        ports = [variable.name for variable in variables if variable.type == "port"]
        if text and text not in ports and not (text.isdecimal() and 1 <= int(text) <= 65535):
            self._problems.add("main_port", f"{text!r} is neither a variable of type port nor a port number")
        return text

    def _health(self) -> Health | None:
        if self._document.get("health") is None:
            return None
        mapping = self._mapping("health", self._document["health"])
        self._unknown_keys("health", mapping, HEALTH_KEYS)
        kind = mapping.get("type", "http")
        if kind not in HEALTH_TYPES:
            self._problems.add("health.type", f"{kind!r} is not one of {', '.join(HEALTH_TYPES)}")
        path = mapping.get("path", "/")
        if not isinstance(path, str) or not re.fullmatch(r"/[!-~]*", path):
            self._problems.add(
                "health.path", f"{path!r} is not the path of a URL: it starts with '/' and has no blanks"
            )
        timeout = mapping.get("timeout", Health.timeout)
        if isinstance(timeout, bool) or not isinstance(timeout, int) or not 1 <= timeout <= _MAX_TIMEOUT:
            self._problems.add("health.timeout", f"{timeout!r} is not a number of seconds from 1 to {_MAX_TIMEOUT}")
        return Health(HEALTH_TYPES.get(str(kind), "http"), str(path), self._status(mapping), timeout)

    def _status(self, mapping: Mapping[str, Any]) -> tuple[int, int]:
        value = mapping.get("status")
        if value is None:
            return Health.status
        match = _STATUS.fullmatch(str(value))
        if match is None or int(match[1]) > int(match[2] or match[1]):
            self._problems.add("health.status", f"{value!r} is neither an HTTP status nor a range such as 200-399")
            return Health.status
        return int(match[1]), int(match[2] or match[1])

    def _hooks(self, services: Mapping[str, Any]) -> Mapping[str, tuple[Hook, ...]]:
        hooks: dict[str, tuple[Hook, ...]] = {}
        for event, items in self._mapping("hooks", self._document.get("hooks")).items():
            if event not in HOOK_EVENTS:
                self._problems.add(f"hooks.{event}", f"it is not one of {', '.join(HOOK_EVENTS)}")
            listed = enumerate(self._list(f"hooks.{event}", items))
            hooks[event] = tuple(self._hook(f"hooks.{event}[{number}]", item, services) for number, item in listed)
        return hooks

    def _hook(self, key: str, item: Any, services: Mapping[str, Any]) -> Hook:
        mapping = self._mapping(key, item or "")
        self._unknown_keys(key, mapping, HOOK_KEYS)
        command = mapping.get("command")
        if not isinstance(command, list) or not command or not all(isinstance(word, str) for word in command):
            self._problems.add(f"{key}.command", "it is not a list of texts: the program and its arguments")
            command = []
        self._known_service(f"{key}.service", mapping.get("service"), services)
        return Hook(str(mapping.get("service")), tuple(command))

    def _shown_scripts(self) -> Mapping[str, str]:
        nested = self._mapping("scripts", self._document.get("scripts"))
        found = {f"scripts.{key}": value for key, value in nested.items()}
        found.update({key: self._document.get(key) for key in _SCRIPTS})
        shown = {key: value for key, value in found.items() if value}
        for key, value in shown.items():
            if not isinstance(value, str):
                self._problems.add(key, "it is not a text")
        return shown


def _compose_for(dockerfile: str, variables: Iterable[Variable]) -> Mapping[str, Any]:
    """Return the Compose section of a template that has nothing but a Dockerfile."""
    service: dict[str, Any] = {"build": ".", "container_name": "${APP_NAME}", "restart": "unless-stopped"}
    port = next((variable.name for variable in variables if variable.type == "port"), None)
    exposed = _EXPOSE.search(dockerfile)
    if port and exposed:
        service["ports"] = [f"${{{port}}}:{exposed[1]}"]
    return {"services": {"app": service}}


def _check_texts(value: Any, key: str, problems: Problems) -> None:
    """Note keys that are not texts, and texts that no file or environment variable can hold."""
    if isinstance(value, str) and unusable(value):
        problems.add(key, unusable(value))
    elif isinstance(value, dict):
        for name, item in value.items():
            where = f"{key}.{name}" if key else str(name)
            if not isinstance(name, str) or unusable(name):
                problems.add(repr(where), "a key is a text without NUL characters")
            _check_texts(item, where, problems)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check_texts(item, f"{key}[{number}]", problems)
