# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Docker's volumes: where they are, new ones, and two that change places."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ansible_collections.serverkit.core.plugins.module_utils._edges import files
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Commands, Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.docker import PROJECT_LABEL, VOLUME_LABEL

_MISSING = "no such volume"


@dataclass(frozen=True)
class Volume:
    """A volume of this host.

    :ivar options: of its driver.
    :ivar mountpoint: the directory with its content; for other drivers, and while it is not in use, there may be none.
    """

    name: str
    driver: str = "local"
    options: Mapping[str, str] = field(default_factory=dict)
    mountpoint: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def compose_labels(project: str, key: str) -> dict[str, str]:
    """Return the labels by which Compose takes a volume for its own.

    :param key: the volume's in the Compose file.
    """
    return {PROJECT_LABEL: project, VOLUME_LABEL: key}


def plain(volume: Volume) -> bool:
    """Tell whether a volume is a directory of Docker's own, and not one of a driver's or from elsewhere."""
    return volume.driver == "local" and not volume.options


def content(volume: Volume) -> str | None:
    """Return the directory that holds a volume's content also while no container uses it; None when there is none."""
    if plain(volume):
        return volume.mountpoint
    bound = volume.driver == "local" and "bind" in volume.options.get("o", "").replace(",", " ").split()
    return volume.options.get("device") if bound else None


class DockerVolumes:
    """The volumes of this host's Docker Engine. Every method raises HostError when Docker refuses."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    def inspect(self, names: Collection[str]) -> dict[str, Volume]:
        """Return volumes by name; one that does not exist is left out."""
        if not names:
            return {}
        done = self._commands.run(["docker", "volume", "inspect", "--format", "{{json .}}", "--", *sorted(names)])
        complaints = [line for line in done.stderr.splitlines() if line.strip() and _MISSING not in line.lower()]
        if not done.ok and complaints:
            raise HostError("inspect volumes", " ".join(complaints))
        found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return {entry["Name"]: _volume(entry) for entry in found}

    def create(self, name: str, labels: Mapping[str, str]) -> Volume:
        """Create an empty volume. One that exists stays as it is, with its content: look before."""
        options = [part for key, value in sorted(labels.items()) for part in ("--label", f"{key}={value}")]
        done = self._commands.run(["docker", "volume", "create", *options, "--", name])
        _check(f"create the volume {name}", done)
        return self.inspect([name])[name]

    def remove(self, names: Collection[str]) -> None:
        """Delete volumes with their content; one that is gone already is fine."""
        if names:
            done = self._commands.run(["docker", "volume", "rm", "--force", "--", *sorted(names)])
            _check(f"delete the volumes {', '.join(sorted(names))}", done)

    def switch(self, live: str, fresh: str, kept: str) -> None:
        """Give `live` the content of `fresh`, and `kept` the content that `live` had; `fresh` is gone afterwards.

        All are plain volumes, and no container that uses them runs. `kept` is empty, or not there yet. What a killed
        run has begun is finished by calling this once more; once it is done, another call changes nothing.
        `switch(live, kept, fresh)` takes it back.
        """
        attempted = f"give the volume {live} the content of {fresh}"
        found = self.inspect([live, fresh, kept])
        if live in found and kept in found and fresh not in found:
            return
        missing = [name for name in (live, fresh) if name not in found]
        if missing:
            raise HostError(attempted, f"there is no volume {missing[0]}")
        aside = found.get(kept) or self.create(kept, {})
        for volume in (found[live], found[fresh], aside):
            if not plain(volume):
                raise HostError(attempted, f"{volume.name} is not a volume in a directory of Docker's own")
        with files.attempting(attempted):
            _rotate(found[live].mountpoint, found[fresh].mountpoint, aside.mountpoint)
        self.remove([fresh])


def _rotate(live: str, fresh: str, kept: str) -> None:
    """Move directories: each of the two moves leaves a gap by which the next run sees how far this one came."""
    # With no gap, nothing was moved; with one at `fresh`, everything.
    if os.path.isdir(fresh):
        if os.path.isdir(live):
            os.rename(live, kept)  # refused by the kernel unless `kept` is empty, or not there
        os.rename(fresh, live)
    for path in (live, kept):
        files.sync_directory(os.path.dirname(path))


def _volume(entry: Mapping[str, object]) -> Volume:
    def mapping(key: str) -> dict[str, str]:
        value = entry.get(key)
        return {str(name): str(text) for name, text in value.items()} if isinstance(value, dict) else {}

    return Volume(
        name=str(entry["Name"]),
        driver=str(entry.get("Driver") or ""),
        options=mapping("Options"),
        mountpoint=str(entry.get("Mountpoint") or ""),
        labels=mapping("Labels"),
    )


def _check(attempted: str, done: Completed) -> None:
    if not done.ok:
        raise HostError(attempted, " ".join(done.stderr.split()) or f"docker ended with exit code {done.returncode}")
