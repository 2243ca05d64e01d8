# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-ins for public images, and the registry mirror that serves them under their public names.

Where the public registry answers, images are pulled for real and nothing here is used. Where it does not, what the
templates ask for is built from Debian's packages and pushed into a registry of our own; a server that has it among
its `registry-mirrors` then pulls `wordpress:6` as if it came from the public one.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import images
from network import ensure_network
from shell import Failure, exclusive, output, say, succeeds, work

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
PUBLIC_REGISTRY = "https://registry-1.docker.io/v2/"
PROBE_SECONDS = 5

MIRROR = f"{images.PREFIX}-mirror"
MIRROR_URL = f"http://{MIRROR}:5000"

# The public repository -> the image that stands in for it, whatever the tag.
STANDINS = {
    "library/mariadb": "standin-mariadb",
    "library/nginx": "standin-nginx",
    "library/node": "standin-node",
    "library/python": "standin-python",
    "library/wordpress": "standin-wordpress",
    "grafana/grafana": "standin-grafana",
    "n8nio/n8n": "standin-n8n",
}
NOT_THE_REAL_THING = {"grafana/grafana", "n8nio/n8n"}

_IMAGE_LINE = re.compile(r"""^\s*(?:-\s+)?(?:image:|FROM\s)\s*["']?([^\s"'#]+)""", re.MULTILINE)
_VARIABLE = re.compile(r"\$\{[A-Za-z_]\w*:?-([^}]*)\}")


def needed(mode: str) -> bool:
    """Whether stand-ins are used; says so. `mode` is always, never, or auto: only where no registry answers."""
    if mode == "always":
        say("Stand-ins are used in place of public images, as asked for.")
        return True
    if mode == "never" or registry_answers():
        say("Public images are pulled for real.")
        return False
    say("The public registry does not answer: stand-ins built from Debian's packages take the place of its images.")
    return True


def registry_answers() -> bool:
    try:
        urllib.request.urlopen(PUBLIC_REGISTRY, timeout=PROBE_SECONDS)
    except urllib.error.HTTPError as error:
        # It asks for a token before it shows anything; that is an answer.
        return error.code == 401
    except OSError:
        return False
    return True


def references_in_templates(names: Iterable[str] | None = None) -> list[str]:
    """The image references in the collection's templates (all, or those of the names given)."""
    wanted = None if names is None else set(names)
    found: set[str] = set()
    for path in sorted(TEMPLATES.glob("*.y*ml")):
        if wanted is None or path.stem in wanted:
            found.update(_IMAGE_LINE.findall(path.read_text(encoding="utf-8")))
    # `${TAG:-6}` pulls what its default says unless a user sets the variable.
    plain = {_VARIABLE.sub(r"\1", reference) for reference in found}
    return sorted(reference for reference in plain if "$" not in reference)


def mirror_up(references: Iterable[str]) -> str:
    """Start the mirror and fill it; its URL, as the test hosts reach it."""
    wanted = [_canonical(reference) for reference in references]
    known = [reference for reference in wanted if _repository(reference) in STANDINS]
    for reference in sorted(set(wanted) - set(known)):
        say(f"  no stand-in for {reference}: apps that need it will not start here")
    tags = images.ensure_images(["registry", *(STANDINS[_repository(reference)] for reference in known)])
    with exclusive(images.DEFINITIONS / "registry"):
        _start(tags["registry"])
        registry = _published_address()
        for reference in known:
            _push(tags[STANDINS[_repository(reference)]], reference, registry)
    return MIRROR_URL


def load(host: str, references: Iterable[str], mode: str) -> None:
    """Put images into the engine inside a test host: stand-ins, or the real ones pulled there.

    :raises Failure: when there is no stand-in for one of them, or it cannot be pulled.
    """
    standing_in = needed(mode)
    for reference in references:
        if not standing_in:
            work(f"Pulling {reference} on {host}", ["docker", "exec", host, "docker", "pull", reference])
            continue
        name = STANDINS.get(_repository(_canonical(reference)))
        if name is None:
            raise Failure(f"There is no stand-in for {reference}.")
        image = images.ensure_images([name])[name]
        say(f"* Putting a stand-in for {reference} into {host} ...")
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
            loaded = subprocess.run(
                ["docker", "exec", "--interactive", host, "docker", "load", "--quiet"],
                stdin=saved.stdout,
                stdout=subprocess.DEVNULL,
                check=False,
            )
        if loaded.returncode or saved.returncode:
            raise Failure(f"{host} did not take the image; `docker exec {host} docker info` may say why.")
        output(["docker", "exec", host, "docker", "tag", image, reference])


def mirror_down() -> None:
    if succeeds(["docker", "container", "inspect", MIRROR]):
        output(["docker", "rm", "--force", "--volumes", MIRROR])
    if succeeds(["docker", "volume", "inspect", MIRROR]):
        output(["docker", "volume", "rm", MIRROR])


def mirror_contents() -> list[str] | None:
    """What the mirror holds; None where none runs."""
    if output(["docker", "ps", "--quiet", "--filter", f"name=^{MIRROR}$"]) == "":
        return None
    registry = _published_address()
    repositories = json.loads(_get(f"http://{registry}/v2/_catalog"))["repositories"]
    tags = {name: json.loads(_get(f"http://{registry}/v2/{name}/tags/list"))["tags"] for name in repositories}
    return sorted(f"{name}:{tag}" for name, found in tags.items() for tag in found or [])


def _canonical(reference: str) -> str:
    """`python` -> `library/python:latest`: the name a mirror is asked for."""
    name = re.sub(r"^(docker\.io|index\.docker\.io)/", "", reference)
    name = name if "/" in name else f"library/{name}"
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _repository(reference: str) -> str:
    # A digest names one exact image, which no stand-in can be.
    return reference if "@" in reference else reference.rpartition(":")[0]


def _start(image: str) -> None:
    running = output(["docker", "ps", "--all", "--filter", f"name=^{MIRROR}$", "--format", "{{.Image}} {{.State}}"])
    if running == f"{image} running":
        return
    if running.startswith(f"{image} "):
        output(["docker", "start", MIRROR])
    else:
        mirror_down()
        network = ensure_network()
        output(["docker", "volume", "create", "--label", images.LABEL, MIRROR])
        # Pushes come from the engine itself, which trusts plain HTTP on loopback only.
        output(
            ["docker", "run", "--detach", "--name", MIRROR, "--hostname", MIRROR, "--label", images.LABEL]
            + ["--network", network, "--restart", "unless-stopped", "--publish", "127.0.0.1::5000"]
            + ["--volume", f"{MIRROR}:/var/lib/docker-registry", image]
        )
    say(f"Registry mirror {MIRROR_URL} started.")


def _published_address() -> str:
    address = output(["docker", "port", MIRROR, "5000/tcp"]).splitlines()[0]
    for _attempt in range(50):
        try:
            _get(f"http://{address}/v2/")
            return address
        except OSError:
            time.sleep(0.2)
    raise Failure(f"The registry mirror does not answer at {address}; `docker logs {MIRROR}` says why.")


def _push(image: str, reference: str, registry: str) -> None:
    if _holds(registry, reference, image):
        return
    public = reference.replace("library/", "", 1)
    if _repository(reference) in NOT_THE_REAL_THING:
        say(f"  {public} is a small HTTP server that only answers like the real thing")
    local = f"{registry}/{reference}"
    output(["docker", "tag", image, local])
    try:
        work(f"Putting a stand-in for {public} into the mirror", ["docker", "push", local])
    finally:
        output(["docker", "rmi", local])


def _holds(registry: str, reference: str, image: str) -> bool:
    name, _colon, tag = reference.rpartition(":")
    kinds = ("vnd.docker.distribution.manifest.v2", "vnd.oci.image.manifest.v1")
    accept = ", ".join(f"application/{kind}+json" for kind in kinds)
    try:
        manifest = json.loads(_get(f"http://{registry}/v2/{name}/manifests/{tag}", {"Accept": accept}))
    except urllib.error.HTTPError:
        return False
    return bool(manifest["config"]["digest"] == output(["docker", "image", "inspect", "--format", "{{.Id}}", image]))


def _get(url: str, headers: dict[str, str] | None = None) -> bytes:
    # The mirror is on this machine: a proxy from the environment would only be in the way.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, headers=headers or {}), timeout=10) as answer:
        return bytes(answer.read())
