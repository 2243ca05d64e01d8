# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Rewriting an app's Compose document for the place that the app is brought up at from a backup set.

An app that keeps its name keeps its document, but for host ports that are taken. A copy loses whatever would make it
meet the original: container names, names of volumes and networks, networks and volumes of others, addresses and
subnets, labels by which proxies find it, and host directories that both would write to.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError
from ansible_collections.serverkit.core.plugins.module_utils._plan import compose_ports
from ansible_collections.serverkit.core.plugins.module_utils._plan.compose_ports import PortMapping
from ansible_collections.serverkit.core.plugins.module_utils._plan.mounts import (
    SYSTEM,
    Mount,
    absolute,
    below,
    parsed,
    with_source,
)
from ansible_collections.serverkit.core.plugins.module_utils._plan.placement import LOOPBACK, Place
from ansible_collections.serverkit.core.plugins.module_utils._plan.ports import Slot
from ansible_collections.serverkit.core.plugins.module_utils._values.records import Protocol

# Without it the answers to what a container sends out do not find back
# (https://docs.docker.com/engine/network/drivers/bridge/#options).
_NO_MASQUERADE = {"com.docker.network.bridge.enable_ip_masquerade": "false"}
_DEFAULT = "default"

# What a service says of its network by which only one container of a host can be known.
_ADDRESSES = ("ipv4_address", "ipv6_address", "mac_address", "link_local_ips")
# Where programs of the host listen at sockets. A read-only mount does not keep a container from talking to them.
_SOCKETS = ("/run", "/var/run")
# What stays of a path with variables in it, as a name of a directory.
_UNFIT = re.compile(r"[^\w./-]+")


@dataclass(frozen=True)
class Move:
    """What a document is rewritten by.

    :ivar ports: new host ports.
    :ivar binds: paths on the host that the set has the content of.
    :ivar volumes: keys of the volumes that the set has the content of.
    :ivar main: of a drill: the only port that stays published, as service, port in the container, protocol.
    :ivar renamed: databases that have other names here, where the template put them into the document.
    :ivar environment: what the app's `.env` holds.
    """

    place: Place
    ports: Mapping[Slot, int] = field(default_factory=dict)
    binds: Collection[str] = ()
    volumes: Collection[str] = ()
    main: tuple[str, int, Protocol] | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass
class Placed:
    """A document as it is to be here.

    :ivar volumes: names in Docker by key; `outside` are keys of those that are not the project's own.
    :ivar binds: by path in the set, the directory that its content goes to here.
    :ivar needed: networks of others that have to be there.
    :ivar notes: what a copy does not have that the original has, as sentences without the final stop.
    """

    document: dict[str, Any]
    volumes: dict[str, str] = field(default_factory=dict)
    outside: frozenset[str] = frozenset()
    binds: dict[str, str] = field(default_factory=dict)
    needed: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


def placed(document: Mapping[str, Any], move: Move) -> Placed:
    """Return a Compose document rewritten for a place.

    :raises ConflictError: when a service of a copy cannot live beside the original.
    """
    services = {name: dict(service or {}) for name, service in (document.get("services") or {}).items()}
    found = Placed({**document, "name": move.place.name, "services": services})
    _publish(services, move)
    if move.place.copy:
        detached = _networks(found, move)
        _volumes(found, move)
        for section in ("configs", "secrets"):
            if section in document:
                found.document[section] = _rewritten(document[section], move.place)
        for name, service in services.items():
            _check(name, service, move.place)
            _stand_alone(name, service, detached, found, move)
            service.update(_mounted(name, service, found, move))
    else:
        found.needed = tuple(_external(document.get("networks")).values())
        found.notes.extend(_plain_volumes(document, move))
    found.outside = frozenset(_external(found.document.get("volumes")))
    found.volumes = _docker_names(found.document, move.place.name)
    found.binds = {path: _here(path, move.place) for path in move.binds}
    return found


# Ports


def _publish(services: Mapping[str, dict[str, Any]], move: Move) -> None:
    for name, service in services.items():
        if service.get("ports"):
            mappings = [mapping for _service, mapping in compose_ports.mappings({name: service})]
            service["ports"] = [text for mapping in mappings for text in _published(name, mapping, move)]
            if not service["ports"]:
                del service["ports"]


def _published(service: str, mapping: PortMapping, move: Move) -> list[Any]:
    protocol = mapping.known_protocol()
    pairs = mapping.pairs() if protocol else ()
    if protocol is None or not pairs:
        return [] if move.place.drill else [mapping.written()]
    if move.place.drill:
        pairs = tuple(pair for pair in pairs if move.main == (service, pair[1], protocol))
        mapping = replace(mapping, host_ip=LOOPBACK)
    elif all(move.ports.get((host, protocol), host) == host for host, _target in pairs):
        return [mapping.written()]
    return [_single(mapping, move.ports.get((host, protocol), host), target) for host, target in pairs]


def _single(mapping: PortMapping, host: int, target: int) -> Any:
    long = None if mapping.long is None else {**mapping.long, "published": str(host), "target": target}
    return replace(mapping, host=str(host), target=str(target), long=long).written()


# Networks and volumes


def _networks(found: Placed, move: Move) -> frozenset[str]:
    """Give a copy networks of its own, and return the keys of those that it is not in any more."""
    networks = dict(found.document.get("networks") or {})
    external = _external(networks)
    kept = {key: _own_network(entry, move.place) for key, entry in networks.items() if key not in external}
    if move.place.drill or _DEFAULT in external:
        kept.setdefault(_DEFAULT, _own_network({}, move.place))
    found.document.pop("networks", None)
    if any(kept.values()) or kept.keys() - {_DEFAULT}:
        found.document["networks"] = kept
    found.notes.extend(f"it is not in the network {name} of others" for name in sorted(external.values()))
    return frozenset(external)


def _own_network(entry: Mapping[str, Any] | None, place: Place) -> dict[str, Any] | None:
    # A subnet is one network's only, and a driver such as macvlan puts containers into the network outside.
    plain = {key: (entry or {})[key] for key in ("internal", "attachable") if key in (entry or {})}
    if place.drill:
        return {**plain, "driver_opts": dict(_NO_MASQUERADE)}
    return plain or None


def _external(entries: Mapping[str, Any] | None) -> dict[str, str]:
    """Return what is made by others: name by key."""
    found: dict[str, str] = {}
    for key, entry in (entries or {}).items():
        outside = entry.get("external") if isinstance(entry, Mapping) else None
        if outside and str(outside).lower() != "false":
            named = outside.get("name") if isinstance(outside, Mapping) else None
            found[key] = str(entry.get("name") or named or key)
    return found


def _volumes(found: Placed, move: Move) -> None:
    """Give a copy volumes of its own: plain ones, since options lead to a place that the original uses."""
    volumes = found.document.get("volumes")
    if not volumes:
        return
    for key in sorted(_external(volumes)):
        if key not in move.volumes:
            found.notes.append(f"its volume {key} is empty: it is another's, and not in the set")
    found.document["volumes"] = dict.fromkeys(volumes)


def _plain_volumes(document: Mapping[str, Any], move: Move) -> list[str]:
    """Return a note on each volume that had a place of its own, which is not said to be here as well."""
    entries = {key: entry for key, entry in (document.get("volumes") or {}).items() if key in move.volumes and entry}
    special = [
        key for key, entry in entries.items() if entry.get("driver_opts") or entry.get("driver", "local") != "local"
    ]
    return [f"its volume {key} is a plain one here, without the options of its driver" for key in special]


def _docker_names(document: Mapping[str, Any], project: str) -> dict[str, str]:
    volumes = document.get("volumes") or {}
    external = _external(volumes)
    return {
        key: external.get(key) or str((entry or {}).get("name") or f"{project}_{key}") for key, entry in volumes.items()
    }


# Services


def _check(name: str, service: Mapping[str, Any], place: Place) -> None:
    mode = str(service.get("network_mode") or "")
    if mode == "host" or mode.startswith("container:"):
        whose = "the host" if mode == "host" else f"the container {mode.partition(':')[2]}"
        raise ConflictError(
            f"bring up a copy of the app {place.app} as {place.name}",
            f"its service {name} is in the network of {whose}, where the original is",
            "Restore it under its own name, on another host",
        )


def _stand_alone(name: str, service: dict[str, Any], detached: Collection[str], found: Placed, move: Move) -> None:
    """Take away from a copy's service whatever it cannot share with the original's."""
    former = service.pop("container_name", None)
    for key in ("labels", "external_links", "mac_address"):
        if service.pop(key, None) and key == "labels":
            found.notes.append(f"its service {name} has no labels, by which others would take it for the original")
    if move.place.drill and service.get("network_mode") == "bridge":
        del service["network_mode"]
    if service.get("volumes_from"):
        service["volumes_from"] = [each for each in service["volumes_from"] if not str(each).startswith("container:")]
    if not service.get("network_mode"):
        joined = _joined(service.pop("networks", None), detached)
        if former:
            joined = joined or {_DEFAULT: None}
            # The other services may know it by that name.
            joined = {key: _with_alias(entry, str(former)) for key, entry in joined.items()}
        if joined:
            service["networks"] = joined
    if move.renamed:
        _rename(service, move.renamed)


def _joined(networks: Any, detached: Collection[str]) -> dict[str, Any]:
    entries = networks if isinstance(networks, Mapping) else dict.fromkeys(networks or ())
    found: dict[str, Any] = {}
    for key, entry in entries.items():
        if key not in detached or key == _DEFAULT:
            left = {name: value for name, value in (entry or {}).items() if name not in _ADDRESSES}
            found[key] = left or None
    # One that was in networks of others only is in the project's own, with the other services.
    return found or ({_DEFAULT: None} if entries else {})


def _with_alias(entry: Mapping[str, Any] | None, name: str) -> dict[str, Any]:
    aliases = list((entry or {}).get("aliases") or ())
    return {**(entry or {}), "aliases": aliases if name in aliases else [*aliases, name]}


def _rename(service: dict[str, Any], names: Mapping[str, str]) -> None:
    """Put new names of databases in the place of the old ones in a service's variables."""
    pattern = re.compile("|".join(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])" for name in sorted(names, reverse=True)))

    def changed(value: Any) -> Any:
        return pattern.sub(lambda match: names[match[0]], value) if isinstance(value, str) else value

    environment = service.get("environment")
    if isinstance(environment, Mapping):
        service["environment"] = {name: changed(value) for name, value in environment.items()}
    elif isinstance(environment, list):
        pairs = [str(entry).partition("=") for entry in environment]
        service["environment"] = [f"{name}{equals}{changed(value)}" for name, equals, value in pairs]


# Bind mounts


def _mounted(name: str, service: Mapping[str, Any], found: Placed, move: Move) -> dict[str, Any]:
    """Return those keys of a copy's service that refer to the host's files, for its own files."""
    changed: dict[str, Any] = {}
    if service.get("volumes"):
        entries = [_mount(name, entry, found, move) for entry in service["volumes"]]
        changed["volumes"] = [entry for entry in entries if entry is not None]
    for key in ("build", "env_file"):
        if service.get(key):
            changed[key] = _rewritten(service[key], move.place)
    return changed


def _mount(name: str, entry: Any, found: Placed, move: Move) -> Any:
    """Return an entry of `volumes` for a copy; None where it has none."""
    mount = parsed(entry, move.environment)
    if mount.kind != "bind":
        return entry
    wanted = _source(name, mount, found, move)
    return None if wanted is None else with_source(entry, wanted.text, read_only=wanted.read_only)


@dataclass(frozen=True)
class _Source:
    """A directory or file of the host's, as Compose text, and how a copy has it."""

    text: str
    read_only: bool


def _source(name: str, mount: Mount, found: Placed, move: Move) -> _Source | None:
    place = move.place
    path = absolute(mount.value, place.before)
    # A path with a secret in it is told, and written, as the document has it.
    shown, as_it_is = (mount.source, mount.source) if mount.variable else (path, _text(path))
    if below(path, place.before) and _stays(mount.value):
        return _Source(mount.source, mount.read_only)
    if not mount.variable and any(below(path, each) for each in (place.before, *move.binds)):
        return _Source(_text(_here(path, place)), mount.read_only)
    if place.drill and path.endswith(".sock"):
        found.notes.append(f"its service {name} does not have {shown}")
        return None
    apart = below(path, place.before) or (place.drill and any(below(path, each) for each in _SOCKETS))
    if not apart and mount.read_only:
        return _Source(as_it_is, read_only=True)
    if not apart and any(below(path, each) for each in SYSTEM):
        if path.endswith(".sock"):
            return _Source(as_it_is, read_only=False)
        found.notes.append(f"its service {name} has {shown} read-only, since the original writes to it")
        return _Source(as_it_is, read_only=True)
    found.notes.append(f"its service {name} has an empty directory in the place of {shown}, which is not in the set")
    own = posixpath.join("/", _UNFIT.sub("_", mount.source)) if mount.variable else path
    return _Source(_text(_here(posixpath.normpath(own), place)), read_only=False)


def _stays(path: str) -> bool:
    """Whether a source is relative to the app's directory and inside of it, wherever that is."""
    return not path.startswith(("/", "~")) and not posixpath.normpath(path).startswith("..")


def _text(path: str) -> str:
    return path.replace("$", "$$")


def _here(path: str, place: Place) -> str:
    """Return the directory that takes the content of one of the host's."""
    if below(path, place.before):
        return f"{place.directory}{path[len(place.before) :]}"
    return posixpath.join(place.directory, "data", path.lstrip("/")) if place.copy else path


def _rewritten(value: Any, place: Place) -> Any:
    """Return a value in which paths below the former directory are below the new one."""
    if isinstance(value, str):
        return place.directory + value[len(place.before) :] if value.startswith(f"{place.before}/") else value
    if isinstance(value, Mapping):
        return {key: _rewritten(item, place) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_rewritten(item, place) for item in value]
    return value
