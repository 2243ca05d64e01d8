# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test bed's images: what there is, and how each is built from Debian's archive alone.

No image comes from a registry. A base image is bootstrapped by mmdebstrap; every other one is a Dockerfile under
`images/`. A tag is the hash of everything that went into the image, so an image is built once and rebuilt exactly
when its definition (or its parent's) changes.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import engine
from shell import Failure, exclusive, output, say, succeeds, work

DEFINITIONS = Path(__file__).resolve().parent / "images"
PREFIX = "serverkit-testbed"
LABEL = "serverkit.testbed=1"


@dataclass(frozen=True)
class Bootstrap:
    """The packages that every system of a Debian release has, and apt."""

    suite: str


@dataclass(frozen=True)
class Dockerfile:
    """The directory `images/<folder>`, built on another image of the table."""

    folder: str
    parent: str


IMAGES: dict[str, Bootstrap | Dockerfile] = {
    "base-trixie": Bootstrap("trixie"),
    "base-bookworm": Bootstrap("bookworm"),
    # Servers: systemd and SSH; "ready" ones have Docker, Compose and nginx already.
    "bare-trixie": Dockerfile("bare", "base-trixie"),
    "bare-bookworm": Dockerfile("bare", "base-bookworm"),
    "ready-trixie": Dockerfile("ready", "bare-trixie"),
    # A certificate authority and a DNS server.
    "acme": Dockerfile("acme", "bare-trixie"),
    # The registry mirror.
    "registry": Dockerfile("registry", "base-trixie"),
    # Stand-ins for public images (see standins.py).
    "standin-python": Dockerfile("standin-python", "base-trixie"),
    "standin-nginx": Dockerfile("standin-nginx", "base-trixie"),
    "standin-node": Dockerfile("standin-node", "base-trixie"),
    "standin-mariadb": Dockerfile("standin-mariadb", "base-trixie"),
    "standin-wordpress": Dockerfile("standin-wordpress", "base-trixie"),
    "standin-grafana": Dockerfile("standin-grafana", "standin-python"),
    "standin-n8n": Dockerfile("standin-n8n", "standin-python"),
}


def ensure_images(names: Iterable[str]) -> dict[str, str]:
    """Build what is missing, parents first; the tag of each name."""
    wanted = list(names)
    for name in wanted:
        # A second run waits for the first instead of building the same image twice.
        with exclusive(DEFINITIONS):
            _ensure(name)
    return {name: tag_of(name) for name in wanted}


def tag_of(name: str) -> str:
    return f"{PREFIX}/{name}:{_content_hash(name)}"


def existing_tags() -> list[str]:
    listed = output(["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", f"{PREFIX}/*"])
    return [line for line in listed.splitlines() if line]


def _definition(name: str) -> Bootstrap | Dockerfile:
    if name not in IMAGES:
        raise Failure(f"There is no image {name!r}; there are: {', '.join(IMAGES)}.")
    return IMAGES[name]


def _content_hash(name: str) -> str:
    definition = _definition(name)
    digest = hashlib.sha256()
    if isinstance(definition, Bootstrap):
        digest.update(repr(_bootstrap_command(definition, "")).encode())
    else:
        digest.update(_content_hash(definition.parent).encode())
        folder = DEFINITIONS / definition.folder
        for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"):
            executable = os.access(file, os.X_OK)
            digest.update(f"\0{file.relative_to(folder)}\0{executable}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _ensure(name: str) -> None:
    definition, tag = _definition(name), tag_of(name)
    if succeeds(["docker", "image", "inspect", tag]):
        return
    if isinstance(definition, Bootstrap):
        _bootstrap(name, definition, tag)
    else:
        _ensure(definition.parent)
        _build(name, definition, tag)
    _remove_superseded(name, tag)


def _bootstrap_command(definition: Bootstrap, tarball: str) -> list[str]:
    options = ["--variant=minbase", '--aptopt=Acquire::Languages "none"']
    # Packages must not start their services while an image is built.
    no_services = r"""--customize-hook=printf '#!/bin/sh\nexit 101\n' >"$1"/usr/sbin/policy-rc.d;"""
    return ["mmdebstrap", *options, no_services + ' chmod 755 "$1"/usr/sbin/policy-rc.d', definition.suite, tarball]


def _bootstrap(name: str, definition: Bootstrap, tag: str) -> None:
    engine.check_dev_null()
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    engine.ensure_commands({"mmdebstrap": "mmdebstrap", keyring: "debian-archive-keyring"})
    # A file in between, because a pipe into `docker import` takes the bootstrap down with it.
    with tempfile.TemporaryDirectory(prefix="serverkit-testbed-", dir="/var/tmp") as folder:
        tarball = os.path.join(folder, f"{name}.tar")
        work(f"Bootstrapping {name} from Debian's archive", _bootstrap_command(definition, tarball))
        work(f"Importing {name}", ["docker", "import", "--change", 'CMD ["/bin/bash"]', tarball, tag])


def _build(name: str, definition: Dockerfile, tag: str) -> None:
    folder = str(DEFINITIONS / definition.folder)
    base = ["--build-arg", f"BASE={tag_of(definition.parent)}"]
    command = ["docker", "build", "--force-rm", *base, "--label", LABEL, "--tag", tag, folder]
    # The classic builder is in every engine; BuildKit may need a plugin that is not installed.
    work(f"Building {name}", command, {"DOCKER_BUILDKIT": "0"})


def _remove_superseded(name: str, current: str) -> None:
    for tag in existing_tags():
        if tag.startswith(f"{PREFIX}/{name}:") and tag != current and succeeds(["docker", "rmi", tag]):
            say(f"  removed {tag}, which {current} replaces")
