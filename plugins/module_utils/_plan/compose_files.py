# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Bringing a template's files to the services that they are for.

A file lies at `./files/<hash of its content>/<name>` below the app's directory: a container whose file changed gets a
new mount, so Compose recreates it and no other; and the previous release's files are still there to go back to.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan.mounts import parsed
from ansible_collections.serverkit.core.plugins.module_utils._values.template import (
    RenderedFile,
    Template,
    TemplateFile,
    Values,
)

_BRACED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def fill_in(text: str, values: Mapping[str, str]) -> str:
    """Return a text with `${NAME}` replaced for the names that have a value; all else stays as it is.

    Less than in the Compose section on purpose: `$host` in an nginx file and `${1:-x}` in a shell script are not ours.
    """
    return _BRACED.sub(lambda match: values.get(match[1], match[0]), text)


@dataclass(frozen=True)
class Mount:
    """One entry of a service's `volumes`; `source` is empty for an anonymous volume."""

    index: int
    source: str
    target: str

    def relative(self) -> str | None:
        """Return the source relative to the app's directory, None for a named volume or another place."""
        return str(PurePosixPath(self.source)) if self.source.startswith("./") or self.source == "." else None


class Delivery:
    """Puts a template's files into the rendered services.

    `whole_environment` is true after `into` when a container reads `.env` itself (`env_file: .env`), so that all
    variables have to be in it.
    """

    def __init__(self, template: Template, values: Values, services: dict[str, Any], main_service: str) -> None:
        self._template = template
        self._services = services
        self._main_service = (
            template.main_service or main_service or (next(iter(services)) if len(services) == 1 else "")
        )
        declared = dict.fromkeys((variable.name for variable in template.variables), "")
        self._values = {**declared, **values.plain, **values.sensitive}
        self._files: dict[str, RenderedFile] = {}
        self._delivered: set[str] = set()
        self.whole_environment = False

    def into(self, document: dict[str, Any]) -> dict[str, RenderedFile]:
        """Change the document's services for the files, and return the files by path below the app's directory.

        :raises InputError: when a file belongs to no service, or something refers to a file that there is not.
        """
        for file in self._template.files:
            if file.path.startswith("/"):
                self._mount_absolute(file)
            else:
                self._mount_relative(file)
        for name, service in self._services.items():
            self._build(name, service)
            self._env_files(name, service)
        for section in ("configs", "secrets"):
            self._top_level(section, document)
        for file in self._template.files:
            if file.path not in self._delivered:
                raise InputError(
                    f"deliver the template's file {file.path}",
                    "no service mounts it or a directory above it, and there are several services",
                    "Name one of them as the file's service",
                )
        return self._files

    def _mount_absolute(self, file: TemplateFile) -> None:
        names = file.services or tuple(self._mounting(file.path)) or tuple(filter(None, [self._main_service]))
        for name in names:
            self._mount(name, file, file.path)

    def _mounting(self, path: str) -> Iterator[str]:
        """Yield the services that have a volume at a path or above it."""
        for name, service in self._services.items():
            if any(PurePosixPath(path).is_relative_to(mount.target) for mount in mounts(service)):
                yield name

    def _mount_relative(self, file: TemplateFile) -> None:
        path = PurePosixPath(file.path)
        for name in file.services or self._services:
            for mount in mounts(self._services[name]):
                source = mount.relative()
                if source is not None and path.is_relative_to(source):
                    self._mount(name, file, str(PurePosixPath(mount.target) / path.relative_to(source)))

    def _mount(self, name: str, file: TemplateFile, target: str) -> None:
        service = self._services[name]
        volumes = list(service.get("volumes") or [])
        written = f"./{self._stored(file)}:{target}:ro".replace("$", "$$")
        taken = [mount for mount in mounts(service) if mount.target == target]
        if any(mount.relative() is None for mount in taken):
            raise InputError(
                f"deliver the template's file {file.path}",
                f"the service {name} has a volume at that very path",
                "Give the file or the volume another path",
            )
        for mount in taken:
            volumes[mount.index] = written
        if not taken:
            volumes.append(written)
        service["volumes"] = volumes

    def _stored(self, file: TemplateFile) -> str:
        content = self._content(file)
        path = f"files/{_digest({file.path: RenderedFile(content, file.mode)})}/{PurePosixPath(file.path).name}"
        self._files[path] = RenderedFile(content, file.mode)
        self._delivered.add(file.path)
        return path

    def _content(self, file: TemplateFile) -> str:
        return fill_in(file.content, self._values) if file.substitute else file.content

    def _build(self, name: str, service: dict[str, Any]) -> None:
        build = service.get("build")
        if not build:
            return
        mapping = dict(build) if isinstance(build, dict) else {"context": build}
        context = str(mapping.get("context") or ".")
        if not (context == "." or context.startswith("./")):
            return  # a repository, or a directory of the host's
        contents = self._context(PurePosixPath(context), mapping)
        dockerfile = str(mapping.get("dockerfile") or "Dockerfile")
        if str(PurePosixPath(dockerfile)) not in contents:
            raise InputError(
                f"build the service {name}",
                f"the template brings no {dockerfile} for {context}",
                "Add it to the template's files, or as its dockerfile",
            )
        # Its own directory rather than the app's, which holds .env: a `COPY .` would put the secrets into the image.
        directory = f"files/{_digest(contents)}"
        self._files.update({f"{directory}/{path}": file for path, file in contents.items()})
        service["build"] = {**mapping, "context": f"./{directory}"}

    def _context(self, context: PurePosixPath, mapping: dict[str, Any]) -> dict[str, RenderedFile]:
        """Return a build context's files by path within it; takes `dockerfile_inline` out of the mapping."""
        contents: dict[str, RenderedFile] = {}
        dockerfile = mapping.pop("dockerfile_inline", None) or ""
        if not dockerfile and context == PurePosixPath():
            dockerfile = self._template.dockerfile
        else:
            dockerfile = str(dockerfile).replace("$$", "$")
        if dockerfile:
            contents[str(PurePosixPath(str(mapping.get("dockerfile") or "Dockerfile")))] = RenderedFile(dockerfile)
        for file in self._template.files:
            path = PurePosixPath(file.path)
            if not path.is_absolute() and path.is_relative_to(context):
                contents[str(path.relative_to(context))] = RenderedFile(self._content(file), file.mode)
                self._delivered.add(file.path)
        return contents

    def _env_files(self, name: str, service: dict[str, Any]) -> None:
        entries = service.get("env_file")
        if not entries:
            return
        listed = entries if isinstance(entries, list) else [entries]
        service["env_file"] = [self._env_file(f"services.{name}.env_file", entry) for entry in listed]

    def _env_file(self, where: str, entry: Any) -> Any:
        path = str(entry.get("path") if isinstance(entry, dict) else entry)
        if str(PurePosixPath(path)) == ".env":
            self.whole_environment = True
            return entry
        written = self._rewritten(where, path)
        return {**entry, "path": written} if isinstance(entry, dict) else written

    def _top_level(self, section: str, document: dict[str, Any]) -> None:
        entries = document.get(section)
        if not isinstance(entries, dict):
            return
        document[section] = {
            name: {**entry, "file": self._rewritten(f"{section}.{name}.file", entry["file"])}
            if isinstance(entry, dict) and isinstance(entry.get("file"), str)
            else entry
            for name, entry in entries.items()
        }

    def _rewritten(self, where: str, path: str) -> str:
        """Return where a file that the Compose section refers to really lies."""
        if path.startswith(("/", "~")):
            return path
        wanted = str(PurePosixPath(path))
        for file in self._template.files:
            if file.path == wanted:
                return f"./{self._stored(file)}"
        raise InputError(
            f"find the file of {where}", f"the template brings no {path}", "Add it to the template's files"
        )


def mounts(service: Mapping[str, Any]) -> Iterator[Mount]:
    """Yield the entries of a service's `volumes` that have a path in the container."""
    for index, entry in enumerate(service.get("volumes") or []):
        mount = parsed(entry)
        if mount.target.startswith("/"):
            yield Mount(index, mount.value, mount.target)


def _digest(files: Mapping[str, RenderedFile]) -> str:
    digest = hashlib.sha256()
    for path, file in sorted(files.items()):
        digest.update(f"{len(path)} {file.mode:o} {len(file.content)}\n{path}{file.content}".encode())
    return digest.hexdigest()[:12]
