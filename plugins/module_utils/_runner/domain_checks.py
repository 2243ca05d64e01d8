# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What is in the way of a domain: other files of nginx that have the name, dead ports, an nginx that cannot take it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.serverkit.core.plugins.module_utils._edges import web
from ansible_collections.serverkit.core.plugins.module_utils._errors import ConflictError, HostError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._plan import nginx_config
from ansible_collections.serverkit.core.plugins.module_utils._runner.domain_task import Draft, Snapshot, Task
from ansible_collections.serverkit.core.plugins.module_utils._values.domain import Wanted
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import SHARED

_ATTEMPTED = "serve domains and private URLs"


class Checks:
    """Looks at nginx's other files and at ports, at each of them once."""

    def __init__(self, task: Task, snapshot: Snapshot) -> None:
        self._task = task
        self._snapshot = snapshot
        self._port_problems: dict[int, str] = {}

    def port_problem(self, port: int) -> str:
        """Return what was wrong with a port that was looked at, or the empty text."""
        return self._port_problems.get(port, "")

    def port_of(self, item: Wanted) -> int | None:
        """Return the port that requests for an item are passed on to, where it is known and there is one."""
        if item.site.own_target:
            return None
        return item.port if item.port is not None else self._snapshot.main_ports.get(item.app)

    def claimed_elsewhere(self, good: Iterable[tuple[int, Wanted]], draft: Draft) -> dict[int, ServerkitError]:
        """Find names that nginx would serve from another file, whichever of the two it reads first."""
        configuration = self._task.nginx.configuration()
        foreign = {name: block for block in configuration.servers for name in block.names}
        rewritten = {self._task.layout.enabled(app) for app in draft.sites}
        failures: dict[int, ServerkitError] = {}
        for at, item in good:
            for name in item.names if item.present and item.kind == "domain" else ():
                attempted = f"give the domain {name} to the app {item.app}"
                path = configuration.ours.get(name, "")
                if name in foreign:
                    failures[at] = ConflictError(
                        attempted,
                        f"the server block at {foreign[name].path}:{foreign[name].line}, which serverkit.core did not"
                        " make, has that name",
                        "Take the name out there, or choose another one",
                    )
                elif path and path not in rewritten:
                    failures[at] = ConflictError(
                        attempted,
                        f"{path} has that name, although the registry does not know of it",
                        f"Run this module for the app {path.rpartition('/')[2]} first, with what it shall have",
                    )
        return failures

    def unreachable(self, items: Sequence[tuple[int, Wanted]]) -> dict[int, ServerkitError]:
        """Find items behind whose ports nothing lives."""
        checked = {at: self._ports_of(item) for at, item in items if item.check_port}
        ports = sorted({port for found in checked.values() for port in found} - set(self._port_problems))
        if ports:
            with ThreadPoolExecutor(max_workers=min(16, len(ports))) as pool:
                problems = pool.map(lambda port: web.problem_with_tcp("127.0.0.1", port), ports)
                self._port_problems.update(zip(ports, problems, strict=True))
        if self._task.host.check:  # what the app's own task would start is not there yet; a warning tells
            return {}
        failures: dict[int, ServerkitError] = {}
        for at, item in items:
            problem = next(filter(None, map(self.port_problem, checked.get(at, ()))), "")
            if problem:
                attempted = f"serve {item.name} from the app {item.app}" if item.domain else f"serve the {item.name}"
                failures[at] = HostError(attempted, problem, "Start the app first, or give check_port: false")
        return failures

    def _ports_of(self, item: Wanted) -> list[int]:
        others = [self._snapshot.main_ports.get(app) for app in item.site.path_apps]
        found = [self.port_of(item), *others, *item.site.path_ports]
        return [port for port in dict.fromkeys(found) if port is not None]

    def host_problems(self, draft: Draft) -> list[str]:
        """Return what on the host is in the way; a real run ends here, check mode goes on, for a task before this one
        may be what mends it.

        :raises HostError, ConflictError: in a real run, when nginx's files have to change and cannot.
        """
        if not draft.concerns_nginx:
            return []
        problems = list(self._obstacles(draft))
        if problems and not self._task.host.check:
            raise problems[0]
        return [str(problem) for problem in problems]

    def _obstacles(self, draft: Draft) -> Iterator[ServerkitError]:
        nginx, layout = self._task.nginx, self._task.layout
        if not nginx.installed():
            if not self._task.host.check:
                yield HostError(_ATTEMPTED, "nginx is not installed", "Run site.yml, or install it")
            return
        configuration = nginx.configuration()
        for path in (layout.shared, layout.enabled(SHARED)):
            if not configuration.includes_path(path):
                yield HostError(
                    _ATTEMPTED,
                    f"{layout.main} does not include {path}",
                    f"Add `include {path.rpartition('/')[0]}/*{'.conf' if path.endswith('.conf') else ''};` to its http"
                    " block",
                )
        ports = [layout.port] if draft.shared else []
        ports += [layout.tls_port] if self._listens_with_tls(draft) else []
        for block in configuration.servers:
            for port in ports:
                if nginx_config.listens_as_default(block, port):
                    yield ConflictError(
                        _ATTEMPTED,
                        f"{block.path}:{block.line} already is the default_server of port {port}",
                        "Take default_server out of its listen lines, or disable the file; Debian's own"
                        " sites-enabled/default is removed by the role serverkit.core.nginx",
                    )

    def _listens_with_tls(self, draft: Draft) -> bool:
        changes = [*draft.sites.values(), *draft.goals.values()]
        return any(proof.tls for change in changes for proof in change.proofs)

    def never_reached(self, item: Wanted) -> list[str]:
        """Return blocks of others that take the requests to one address of the host, whatever name they are for."""
        layout = self._task.layout
        ports = [layout.port] + ([layout.tls_port] if item.tls.mode != "none" else [])
        return [
            f"{block.path}:{block.line} listens on {address}: requests to that address never reach {item.name}"
            for block in self._task.nginx.configuration().servers
            for port in ports
            for address in nginx_config.special_addresses(block, port)
        ]
