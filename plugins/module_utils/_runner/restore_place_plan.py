# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What planning an app that is made of a backup set makes: a draft of what the set says, and the plan."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import release_archives, template_files
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_sets import BackupSets
from ansible_collections.serverkit.core.plugins.module_utils._plan import app as decide
from ansible_collections.serverkit.core.plugins.module_utils._plan import dotenv, placement, placement_document
from ansible_collections.serverkit.core.plugins.module_utils._plan.mounts import outermost
from ansible_collections.serverkit.core.plugins.module_utils._plan.placement import Place, PlacedLink
from ansible_collections.serverkit.core.plugins.module_utils._plan.placement_document import Move, Placed
from ansible_collections.serverkit.core.plugins.module_utils._plan.ports import Slot
from ansible_collections.serverkit.core.plugins.module_utils._runner.restore_remains import Journal
from ansible_collections.serverkit.core.plugins.module_utils._values.app import (
    COMPOSE_FILE,
    DESCRIPTION_FILE,
    ENVIRONMENT_FILE,
    Release,
)
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import Manifest, TreeArchive
from ansible_collections.serverkit.core.plugins.module_utils._values.links import LinkRequest, ServerRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Diff
from ansible_collections.serverkit.core.plugins.module_utils._values.ports import PortRequest
from ansible_collections.serverkit.core.plugins.module_utils._values.template import RenderedFile


@dataclass(frozen=True)
class PlacementPlan:
    """An app as it is to be made of a set.

    :ivar leftovers: what a killed run has made of it, which goes away first; then it is planned once more.
    :ivar files: the Compose file and the description; `environment` is what `.env` holds before the links are made.
    :ivar links: those that the app had, and `requests` for those that are made on a server, by name of the link.
    :ivar ports: what is asked for, each with its number.
    :ivar volumes: archives with the names of their volumes here; `outside` are keys of those that are not the
        project's own. `directories` are archives with their paths.
    """

    manifest: Manifest
    place: Place
    servers: Mapping[str, ServerRequest]
    leftovers: Journal | None = None
    release: Release | None = None
    files: Mapping[str, RenderedFile] = field(default_factory=dict, repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    links: tuple[PlacedLink, ...] = ()
    requests: Mapping[str, LinkRequest] = field(default_factory=dict)
    ports: tuple[PortRequest, ...] = ()
    volumes: tuple[tuple[TreeArchive, str], ...] = ()
    outside: frozenset[str] = frozenset()
    directories: tuple[tuple[TreeArchive, str], ...] = ()
    journal: Journal = field(default_factory=lambda: Journal("", ""))
    diffs: tuple[Diff, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The app's name."""
        return self.place.name


class Draft:
    """What a set's release becomes here, as far as the set itself says."""

    def __init__(self, sets: BackupSets, manifest: Manifest, place: Place) -> None:
        """
        :raises HostError, InputError: when the set's release cannot be understood.
        """
        self.manifest = manifest
        self.place = place
        self.present = release_archives.read(os.path.join(sets.path(manifest.id), manifest.release.path))
        described = self.present.get(DESCRIPTION_FILE)
        release = decide.read_description(described.content) if described else None
        if release is None or COMPOSE_FILE not in self.present:
            attempted = f"make the app {place.name} of the set {manifest.id}"
            raise HostError(attempted, "the app was not deployed when the set was made, or its release is damaged")
        self.release = release
        rows = [placement.link_row(fields) for fields in manifest.links]
        self.renamed = placement.renamed(rows, place, release.database)
        self.links = placement.placed_links(rows, place)
        text = self.present[ENVIRONMENT_FILE].content if ENVIRONMENT_FILE in self.present else ""
        self.environment = dotenv.decode(text)
        self.document = template_files.parse_yaml(self.present[COMPOSE_FILE].content, COMPOSE_FILE)
        self.files: dict[str, RenderedFile] = {}
        self.placed = Placed({})

    def write(self, numbers: Mapping[str, int]) -> None:
        """Put the release together for these host ports, by name of the lease."""
        manifest, place = self.manifest, self.place
        ports: dict[Slot, int] = placement.moved_ports(self.release, numbers, place)
        main = self.release.main
        move = Move(
            place=place,
            ports=ports,
            binds=tuple(archive.name for archive in manifest.binds),
            volumes=tuple(archive.name for archive in manifest.volumes),
            main=(main.service, main.target, main.protocol) if main else None,
            renamed=self.renamed,
            environment=self.environment,
        )
        self.placed = placement_document.placed(self.document, move)
        text = self.present[COMPOSE_FILE].content
        if self.placed.document != self.document:
            text = template_files.dump_yaml(self.placed.document)
            key, text_key = decide.document_key(self.placed.document), decide.text_key(text)
        else:
            key, text_key = self.release.compose_key, self.release.compose_text
        release = placement.release(self.release, ports, place, key, text_key)
        self.environment = placement.moved_environment(self.environment, self.release, ports, self.renamed)
        self.release = release
        self.files = {
            DESCRIPTION_FILE: RenderedFile(decide.describe(release), 0o644),
            COMPOSE_FILE: RenderedFile(text, 0o644),
        }

    @property
    def volumes(self) -> tuple[tuple[TreeArchive, str], ...]:
        """The set's volumes with their names in Docker here; one that the app has no more is left out."""
        named = self.placed.volumes
        return tuple((each, named[each.name]) for each in self.manifest.volumes if each.name in named)

    @property
    def directories(self) -> tuple[tuple[TreeArchive, str], ...]:
        """The set's directories with their paths here."""
        chosen = outermost(each.name for each in self.manifest.binds)
        return tuple((each, self.placed.binds[each.name]) for each in self.manifest.binds if each.name in chosen)

    @property
    def left_out(self) -> Sequence[tuple[str, str]]:
        """What the app had and the set does not hold."""
        return sorted(self.manifest.left_out.items())
