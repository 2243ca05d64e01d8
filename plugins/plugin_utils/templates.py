# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this plugin util is PRIVATE to the collection: it can change or go away in any release.

"""Finding, reading and checking templates on the controller."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.template_files import parse_yaml
from ansible_collections.serverkit.core.plugins.module_utils._plan import template_schema
from ansible_collections.serverkit.core.plugins.module_utils._values.template import Template

COLLECTION_TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
SUFFIXES = (".yaml", ".yml")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class LoadedTemplate:
    """A template found on the controller. `document` is what its file holds, as plain values that JSON can carry."""

    path: str
    document: dict[str, Any]
    template: Template


class TemplateLibrary:
    """The templates that a task can name; each file is read once.

    :param task_paths: Ansible's search path of the task, nearest first (`Task.get_search_path()`).
    :param template_paths: the directories of `serverkit_template_paths`.
    :param playbook_directory: where the playbook is; its `templates/` is searched.
    """

    def __init__(
        self, task_paths: Sequence[str], template_paths: Sequence[str] = (), playbook_directory: str = ""
    ) -> None:
        self._bases = [Path(path) for path in task_paths]
        if playbook_directory:
            self._bases.append(Path(playbook_directory))
        # A relative path means relative to the playbook, as everywhere in Ansible.
        extra = [Path(playbook_directory or ".") / Path(path).expanduser() for path in template_paths]
        near = [place for base in self._bases[: len(task_paths)] for place in (base, base / "templates")]
        own = [Path(playbook_directory) / "templates"] if playbook_directory else []
        self.directories = list(dict.fromkeys([*near, *extra, *own, COLLECTION_TEMPLATES]))
        self._loaded: dict[str, LoadedTemplate] = {}

    def load(self, name: str) -> LoadedTemplate:
        """Return a template by its name (`wordpress`) or by the path of its file.

        :raises InputError: when there is none, or it is not valid.
        """
        if name not in self._loaded:
            path = self._find(name)
            document = parse_yaml(_read(path), str(path))
            self._loaded[name] = LoadedTemplate(str(path), document, template_schema.parse(document, str(path)))
        return self._loaded[name]

    def names(self) -> list[str]:
        """Return the names of all templates that could be meant."""
        return sorted({path.stem for directory in self._libraries() for path in _templates_in(directory)})

    def _find(self, name: str) -> Path:
        attempted = f"find the template {name!r}"
        if not name or ".." in Path(name).parts or re.search(r"[\x00-\x1f\x7f]", name):
            raise InputError(attempted, "that is neither the name of a template nor the path of a file without '..'")
        if "/" in name or name.endswith(SUFFIXES):
            candidates = list(self._by_path(name))
        elif _NAME.fullmatch(name):
            candidates = [directory / f"{name}{suffix}" for directory in self.directories for suffix in SUFFIXES]
        else:
            raise InputError(attempted, "a template's name has letters, digits, '.', '_' and '-'")
        for candidate in candidates:
            if candidate.is_file():
                return candidate
        places = dict.fromkeys(str(candidate.parent) for candidate in candidates)
        raise InputError(attempted, f"there is no such file in {', '.join(places)}", self._proposal(name))

    def _by_path(self, name: str) -> Iterator[Path]:
        path = Path(name).expanduser()
        if path.is_absolute():
            yield path
            return
        for base in dict.fromkeys([*self._bases, *self.directories]):
            yield base / path

    def _proposal(self, name: str) -> str:
        names = self.names()
        close = difflib.get_close_matches(Path(name).stem, names, n=3)
        return f"Did you mean {' or '.join(close)}?" if close else f"There are: {', '.join(names)}"

    def _libraries(self) -> list[Path]:
        # Directories of a task or a role hold other YAML than templates; only those called so are worth listing.
        searched = set(self._bases)
        return [directory for directory in self.directories if directory not in searched]


def _templates_in(directory: Path) -> Iterator[Path]:
    if directory.is_dir():
        yield from (path for path in directory.iterdir() if path.suffix in SUFFIXES and _NAME.fullmatch(path.stem))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"read {path}", f"it is not UTF-8 text at byte {error.start}") from None
    except OSError as error:
        raise InputError(f"read {path}", error.strerror or str(error)) from error
