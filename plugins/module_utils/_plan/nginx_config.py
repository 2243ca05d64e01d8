# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Reading nginx configuration that others wrote: just enough to see who listens where and under which names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.serverkit.core.plugins.module_utils._values.nginx_syntax import (
    Directive,
    UnreadableConfigurationError,
    parse,
    walk,
)

__all__ = [
    "Directive",
    "ServerBlock",
    "UnreadableConfigurationError",
    "listens_as_default",
    "parse",
    "server_blocks",
    "special_addresses",
    "walk",
]


@dataclass(frozen=True)
class ServerBlock:
    """A server block of the http block, and where it is written."""

    path: str
    line: int
    names: tuple[str, ...]
    listens: tuple[tuple[str, ...], ...]


def server_blocks(path: str, directives: Sequence[Directive]) -> Iterator[ServerBlock]:
    """Yield the server blocks of a file; `server` lines of upstreams are no blocks."""
    for directive in walk(directives):
        if directive.name == "server" and directive.block is not None:
            names = tuple(name for found in directive.block if found.name == "server_name" for name in found.arguments)
            listens = tuple(found.arguments for found in directive.block if found.name == "listen")
            yield ServerBlock(path, directive.line, names, listens)


def listens_as_default(block: ServerBlock, port: int) -> bool:
    """Whether the block claims all requests to a port, on every address, that no name matches."""
    return any(
        _on_port(listen[0], port) and _wildcard(listen[0]) and {"default_server", "default"} & set(listen[1:])
        for listen in block.listens
        if listen
    )


def special_addresses(block: ServerBlock, port: int) -> tuple[str, ...]:
    """Return single addresses that the block listens on: nginx asks no wildcard listener about requests to those."""
    return tuple(
        listen[0] for listen in block.listens if listen and _on_port(listen[0], port) and not _wildcard(listen[0])
    )


def _split_listen(address: str) -> tuple[str, str]:
    if address.isdigit():
        return "*", address
    if address.startswith("["):
        host, _bracket, rest = address.partition("]")
        return host + "]", rest.lstrip(":") or "80"
    host, _colon, port = address.partition(":")
    return host, port or "80"


def _on_port(address: str, port: int) -> bool:
    return not address.startswith("unix:") and _split_listen(address)[1] == str(port)


def _wildcard(address: str) -> bool:
    return _split_listen(address)[0] in ("*", "0.0.0.0", "[::]")  # noqa: S104 - read, never bound
