# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests per second through the vhost that serverkit_domain writes, and through others to the same backend."""

from __future__ import annotations

import re
import shlex
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_runs import HERE, Ansible
from comparison import markdown
from server import Server

from shell import Failure, say

FILES = HERE / "files" / "vhosts"
CONNECTIONS = 32
WARM_UP_SECONDS = 1

# One worker each: the proxies are compared, not how well they spread over cores.
PREPARE = """
set -eu
export DEBIAN_FRONTEND=noninteractive
systemctl mask --quiet caddy.service
apt-get update -q >&2
apt-get install -qy --no-install-recommends caddy wrk >&2
sed -i 's/^worker_processes .*/worker_processes 1;/' /etc/nginx/nginx.conf
rm -f /etc/nginx/sites-enabled/default
ln -sf ../sites-available/others /etc/nginx/sites-enabled/others
nginx -t
systemctl restart nginx
systemd-run --quiet --unit=benchmark-backend nginx -c /root/backend.conf
systemd-run --quiet --unit=benchmark-caddy --setenv=GOMAXPROCS=1 caddy run --config /root/Caddyfile --adapter caddyfile
for port in 9100 9080; do
    curl --silent --show-error --fail --retry 20 --retry-connrefused --retry-delay 1 --output /dev/null http://127.0.0.1:$port/
done
"""


@dataclass(frozen=True)
class Target:
    """A proxy in front of the backend."""

    title: str
    port: int
    name: str
    unit: str
    smallest_ratio: float | None = None  # our requests per second divided by its

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


NGINX, CADDY = "nginx.service", "benchmark-caddy.service"
OURS = Target("serverkit.core", 80, "generated.test", NGINX)
OTHERS = (
    Target("nginx, tuned by hand", 80, "tuned.test", NGINX, 0.98),
    Target("nginx, the reference's vhost", 80, "reference.test", NGINX, 3),
    Target("Caddy, as Debian has it", 9080, "caddy.test", CADDY, 2),
)
HEAD = ["vhost", "requests per second", "serverkit.core makes", "at least", "holds", "and per processor second"]

# Runs a program, and prints for how many ticks the processes of a unit were running meanwhile: utime and stime, which
# are the 14th and 15th field (proc_pid_stat(5)).
TIMED = """
set -eu
main=$(systemctl show --property=MainPID --value "$1")
shift
ticks() {
    total=0
    for pid in $main $(pgrep --parent $main || true); do
        set -- $(sed 's/.*) //' /proc/$pid/stat)
        total=$((total + ${12} + ${13}))
    done
    echo $total
}
before=$(ticks)
"$@"
echo "Ticks: $(($(ticks) - before)) at $(getconf CLK_TCK)"
"""


@dataclass(frozen=True)
class Load:
    """What a proxy did under load: requests per second of the clock, and per second that its processes ran."""

    rate: float
    efficiency: float


@dataclass(frozen=True)
class Row:
    """A vhost in the table, with what each round showed. Ours has no ratio."""

    target: Target
    rates: Sequence[float]
    ratios: Sequence[float] = ()
    efficiencies: Sequence[float] = ()  # ratios too

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def holds(self) -> bool:
        wanted = self.target.smallest_ratio
        return not self.ratios or wanted is None or self.ratio >= wanted

    def cells(self) -> list[str]:
        rates = f"{statistics.median(self.rates):.0f} ({min(self.rates):.0f} to {max(self.rates):.0f})"
        if not self.ratios:
            return [self.target.title, rates, "", "", "", ""]
        wanted = self.target.smallest_ratio
        budget = [f"{wanted}x" if wanted else "", "yes" if self.holds else "NO"]
        return [self.target.title, rates, _ratios(self.ratios), *budget, _ratios(self.efficiencies)]


def _ratios(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f}x ({min(ratios):.2f}x to {max(ratios):.2f}x)"


class Vhosts:
    """The proxies on one server. `prepare` comes first, then any number of rounds."""

    def __init__(self, server: Server, ansible: Ansible, seconds: int) -> None:
        self._server = server
        self._ansible = ansible
        self._seconds = seconds
        self._loads: dict[str, list[Load]] = {target.name: [] for target in (OURS, *OTHERS)}

    def prepare(self) -> None:
        """Have the backend and the proxies run, and see that each leads to the backend."""
        say("* Installing Caddy and wrk, and writing the vhosts ...")
        self._server.write("/root/backend.conf", (FILES / "backend.conf").read_text(encoding="utf-8"))
        self._server.write("/root/Caddyfile", (FILES / "Caddyfile").read_text(encoding="utf-8"))
        self._server.write("/etc/nginx/sites-available/others", (FILES / "others.conf").read_text(encoding="utf-8"))
        self._server.run(PREPARE)
        self._ansible.run("vhosts.yml", {})
        for target in (OURS, *OTHERS):
            answer = self._server.run(shlex.join(["curl", "--silent", "-H", f"Host: {target.name}", target.url]))
            if answer != "ok":
                raise Failure(f"{target.title} does not lead to the backend; it answers {answer[:200]!r}.")

    def measure_round(self) -> None:
        """Put each proxy under load in turn, another one first each time, since the machine may slow down."""
        targets = [OURS, *OTHERS]
        start = len(self._loads[OURS.name]) % len(targets)
        for target in targets[start:] + targets[:start]:
            self._load(target, WARM_UP_SECONDS)
            load = self._load(target, self._seconds)
            self._loads[target.name].append(load)
            say(f"    {target.title}: {load.rate:.0f} requests per second")

    def rows(self) -> list[Row]:
        """Return what was measured, ours first. Ratios are those of a round, in which the machine was in one state."""
        ours = self._loads[OURS.name]
        rows = [Row(OURS, [load.rate for load in ours])]
        for other in OTHERS:
            pairs = list(zip(ours, self._loads[other.name], strict=True))
            ratios = [mine.rate / its.rate for mine, its in pairs]
            efficiencies = [mine.efficiency / its.efficiency for mine, its in pairs]
            rows.append(Row(other, [its.rate for _mine, its in pairs], ratios, efficiencies))
        return rows

    def versions(self) -> dict[str, str]:
        script = "nginx -v 2>&1 | sed 's,.*/,,'; caddy version | sed 's/ .*//'; wrk --version | head -1 | cut -d' ' -f2"
        return dict(zip(("nginx", "Caddy", "wrk"), self._server.run(script).splitlines(), strict=True))

    def _load(self, target: Target, seconds: int) -> Load:
        """Put a proxy under load.

        :raises Failure: when a request failed, since an error may well be faster than an answer.
        """
        options = [f"--connections={CONNECTIONS}", "--threads=1", f"--duration={seconds}s"]
        command = ["bash", "-s", "--", target.unit, "wrk", *options, f"--header=Host: {target.name}", target.url]
        shown = self._server.run(shlex.join(command), stdin=TIMED)
        errors = re.search(r"^ *(Socket errors|Non-2xx or 3xx responses):.*$", shown, re.MULTILINE)
        rate = re.search(r"^Requests/sec: *([0-9.]+)$", shown, re.MULTILINE)
        requests = re.search(r"^ *([0-9]+) requests in ", shown, re.MULTILINE)
        ticks = re.search(r"^Ticks: ([0-9]+) at ([0-9]+)$", shown, re.MULTILINE)
        if errors or not (rate and requests and ticks):
            raise Failure(f"Requests to {target.title} failed: {errors.group().strip() if errors else shown}")
        running = max(1, int(ticks.group(1))) / int(ticks.group(2))
        return Load(float(rate.group(1)), int(requests.group(1)) / running)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table that can be read as it is."""
    return markdown(HEAD, [row.cells() for row in rows])
