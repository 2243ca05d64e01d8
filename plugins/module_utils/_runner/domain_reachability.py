# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""Whether a name leads to this host: by asking for a random token through it, or by its A and AAAA records."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.serverkit.core.plugins.module_utils._edges import files, network, randomness, web
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_task import Snapshot, Task
from ansible_collections.serverkit.core.plugins.module_utils._values.domain import Wanted
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import PROBE_PATH

DNS_TIMEOUT = 10.0  # seconds for all names of a task
PROBE_TIMEOUT = 5.0  # seconds for one address
_MOST_AT_ONCE = 64


class Reachability:
    """Asks DNS about names, and servers on the names' addresses; each once in a run."""

    def __init__(self, task: Task, snapshot: Snapshot) -> None:
        self._task = task
        self._snapshot = snapshot
        self._addresses: dict[str, tuple[str, ...] | str] = {}

    def new_names(self, item: Wanted) -> list[str]:
        """Return the names of an item that DNS is to be asked about: one that is served already has proven itself."""
        if item.kind != "domain" or not item.present or item.dns_check == "off":
            return []
        known = {row.name for row in self._snapshot.names(item.app).domains}
        return [name for name in item.names if name not in known and not name.startswith("*.")]

    def resolve(self, names: Iterable[str]) -> None:
        """Find out the addresses of names that have not been asked about yet."""
        asked = set(names) - set(self._addresses)
        if asked:
            self._addresses.update(network.resolve(sorted(asked), DNS_TIMEOUT))

    def resolves_to(self, name: str) -> list[str] | None:
        """Return a name's addresses, or None when nobody has asked."""
        found = self._addresses.get(name)
        return None if found is None else [] if isinstance(found, str) else list(found)

    def warnings(self, item: Wanted) -> list[str]:
        """Return what DNS alone says against an item's new names; a probe says the rest, once nginx serves them."""
        return [problem for name in self.new_names(item) if (problem := self._dns_problem(name, item.dns_check))]

    def _dns_problem(self, name: str, dns_check: str) -> str:
        addresses = self._addresses.get(name, ())
        if isinstance(addresses, str):
            return f"{name} does not resolve ({addresses})"
        return self._records_problem(name, addresses) if dns_check == "records" else ""

    def _records_problem(self, name: str, addresses: Sequence[str]) -> str:
        strangers = [address for address in addresses if not network.is_own(address)]
        if not strangers:
            return ""
        explained = [f"its {_record(address)} record {address} is not an address of this host" for address in strangers]
        own = ", ".join(network.outward_addresses()) or "none that is known"
        return f"{name}: {'; '.join(explained)}. This host's own: {own}"

    def problems(self, checks: Mapping[str, str], shared: Iterable[str]) -> dict[str, HostError]:
        """Find out which names do not lead here, each by the check that its item asks for.

        To be called while nginx serves the webroot under these names.

        :param checks: the check by name: `probe`, `records` or `off`.
        :param shared: names that other hosts serve as well: one address that leads here is enough.
        """
        asked = {name: check for name, check in checks.items() if check != "off" and not name.startswith("*.")}
        self.resolve(asked)
        found = {name: problem for name, check in asked.items() if (problem := self._dns_problem(name, check))}
        probed = [name for name, check in asked.items() if check == "probe" and name not in found]
        if probed:
            found.update(self._probe(probed, set(shared)))
        own = ", ".join(network.outward_addresses()) or "its public address"
        advice = (
            f"Point its A record at this host ({own}), and its AAAA record or none. Behind a NAT that does not let the"
            " host reach itself, give dns_check: off"
        )
        return {name: HostError(f"reach this host by {name}", problem, advice) for name, problem in found.items()}

    def _probe(self, names: Sequence[str], shared: set[str]) -> dict[str, str]:
        with self._served_token() as token:
            asked = [(name, address) for name in names for address in self._addresses[name]]
            with ThreadPoolExecutor(max_workers=min(_MOST_AT_ONCE, len(asked))) as pool:
                answers = list(pool.map(lambda pair: self._answer(pair[0], pair[1], token), asked))
        found: dict[str, str] = {}
        for name in names:
            own = [answer for (asked_name, _address), answer in zip(asked, answers, strict=True) if asked_name == name]
            good = own.count("")
            unknown = [answer for answer in own if answer.startswith("?")]
            bad = [answer for answer in own if answer and answer not in unknown]
            if (bad and not (good and name in shared)) or not good:
                found[name] = "; ".join(bad or [answer[1:] for answer in unknown])
        return found

    @contextlib.contextmanager
    def _served_token(self) -> Iterator[str]:
        token = randomness.slug()
        directory = self._task.layout.webroot + PROBE_PATH
        files.make_directory(directory)
        path = os.path.join(directory, token)
        files.write(path, token, 0o644)
        try:
            yield token
        finally:
            files.remove(path)

    def _answer(self, name: str, address: str, token: str) -> str:
        """Return what is wrong with the answer of one address; starting with `?` when that proves nothing."""
        path = PROBE_PATH + token
        place = f"its {_record(address)} record leads to {address}"
        try:
            response = web.get(address, self._task.layout.port, path, name, timeout=PROBE_TIMEOUT)
            if response.status in (301, 302, 307, 308) and response.headers.get("location") == f"https://{name}{path}":
                # CDNs do this; RFC 8555, section 8.3: the server of the authority follows.
                response = web.get_over_tls(address, self._task.layout.tls_port, path, name, timeout=PROBE_TIMEOUT)
        except HostError as error:
            if isinstance(error.__cause__, OSError) and network.is_no_route(error.__cause__):
                return f"?{place}, which cannot be tried from this host ({error.reason})"
            return f"{place}, which does not answer: {error.reason}"
        if response.status == 200 and response.body.decode("ascii", errors="replace").strip() == token:
            return ""
        described = "another page" if response.status == 200 else f"HTTP status {response.status}"
        return f"{place}, which answers with {described}, and is not this nginx"


def _record(address: str) -> str:
    return "AAAA" if ":" in address else "A"
