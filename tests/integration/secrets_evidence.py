# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs with secrets leave behind, on the controller and on the host, gathered to be looked through."""

from __future__ import annotations

import contextlib
import io
import json
import string
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._plan import dotenv
from ansible_collections.serverkit.core.tests.integration.playbook_host import PlaybookHost, Run
from ansible_collections.serverkit.core.tests.integration.secrets_scan import Scanner, awkward

PRINTABLE = string.printable[62:95] + "$HOME ${MODE} $$ $(id) \\n %s äß€😀 '' \"\" \\"

_TELL = """
import base64, html, json, os, shlex, sys, urllib.parse
for name in NAMES:
    value = os.environ.get(name, "")
    raw = value.encode()
    coded = [base64.b64encode(text).decode() for text in (raw, b"u:" + raw, b"user:" + raw, b"me:" + raw + b"!")]
    coded += [urllib.parse.quote(value), urllib.parse.quote(value, safe=""), urllib.parse.quote_plus(value)]
    coded += [shlex.quote(value), json.dumps(value), json.dumps(value, ensure_ascii=False), repr(value)]
    coded += [value.replace("$", "$$"), html.escape(value), json.dumps(json.dumps(value))]
    print(name, *coded, flush=True, file=sys.stderr)
    print(value, flush=True)
"""
# What everybody on the host can see of processes, and what those of other users than root can see of their own; and
# each content that an app's `.env` ever had, since no other trace is left of a password that was taken back.
_WATCH = """
import glob, json, os, select, sys
seen, environments = set(), set()
def read(path):
    try:
        with open(path, "rb") as stream:
            return stream.read().decode(errors="replace")
    except OSError:
        return ""
while not select.select([sys.stdin], [], [], 0.03)[0]:
    for process in glob.glob("/proc/[0-9]*"):
        seen.add(read(process + "/cmdline"))
        try:
            if os.stat(process).st_uid:
                seen.add(read(process + "/environ"))
        except OSError:
            pass
    environments.update(map(read, glob.glob("/var/serverkit/apps/*/.env")))
json.dump({"processes": sorted(seen), "environments": sorted(environments)}, sys.stdout)
"""


@dataclass
class Evidence:
    """What all runs left behind: texts by where they were."""

    scanner: Scanner = field(default_factory=Scanner)
    outputs: dict[str, str] = field(default_factory=dict)
    host: dict[str, str] = field(default_factory=dict)
    environments: dict[str, int] = field(default_factory=dict)

    def give(self, name: str, middle: str) -> str:
        """Return a new secret that has something awkward in its middle, and look for it."""
        return self.scanner.add(name, awkward(middle))

    def add(self, name: str, run: Run) -> Run:
        self.outputs[f"output of {name}"] = run.output
        self.outputs[f"log of {name}"] = run.log
        return run

    def learn(self, where: str, environment: str) -> None:
        """Look for the passwords of an `.env` as well, as far as there is something in them to be found."""
        for name, value in dotenv.decode(environment).items():
            # A URL is told by its password, and the rest of it is no secret.
            if len(value) > 20 and name != "COMPOSE_FILE" and "://" not in value:
                self.scanner.add(f"{name} of {where}", value)

    def shown(self) -> dict[str, list[str]]:
        """Return what is told where Ansible shows and logs."""
        return self._found(self.outputs)

    def logged(self) -> dict[str, list[str]]:
        """Return what is told by the host's journal and by its processes."""
        return self._found({name: self.host[name] for name in ("journal", "processes")})

    def stored(self) -> dict[str, list[str]]:
        """Return what is told by other things that are left on the host."""
        return self._found({name: text for name, text in self.host.items() if name not in {"journal", "processes"}})

    def _found(self, texts: Mapping[str, str]) -> dict[str, list[str]]:
        found = {name: self.scanner.find(text) for name, text in texts.items()}
        return {name: lines for name, lines in found.items() if lines}


def tell(*names: str) -> str:
    """Return a program for a container that tells its secrets, by their variables, in every encoding there is."""
    return f"NAMES = {names!r}\n{_TELL}"


def task(module: str, name: str, arguments: Mapping[str, Any], *expected: str) -> dict[str, Any]:
    """Return a task of one of our modules, with what it has to say when it fails."""
    return {"name": name, f"serverkit.core.serverkit_{module}": dict(arguments), "vars": {"expected": list(expected)}}


def run_tasks(
    evidence: Evidence, host: PlaybookHost, name: str, tasks: Sequence[dict[str, Any]], **options: Any
) -> Run:
    """Run tasks and make sure that each ended as it was meant to; in check mode some cannot fail."""
    run = evidence.add(name, host.tasks(tasks, verbose=True, **options))
    for each in tasks:
        result, expected = run.results[each["name"]], each["vars"]["expected"]
        if expected and not options.get("check"):
            assert result.get("failed"), f"{each['name']} succeeded"
            for sentence in expected:
                assert sentence in str(result["msg"]), (each["name"], sentence, result["msg"])
        elif not expected:
            assert not result.get("failed"), (each["name"], result["msg"])
    return run


@contextlib.contextmanager
def watched(evidence: Evidence, host: PlaybookHost) -> Iterator[None]:
    """Gather what the host's processes and its journal show meanwhile."""
    since = host.sh("date +%s")
    watch = ["docker", "exec", "-i", host.container, "python3", "-c", _WATCH]
    with subprocess.Popen(watch, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as watcher:
        try:
            yield
        finally:
            told, _none = watcher.communicate(b"\n")
    seen = json.loads(told)
    evidence.host["processes"] = "\n".join(seen["processes"])
    assert "serverkit" in evidence.host["processes"]
    for number, environment in enumerate(seen["environments"]):
        evidence.learn(f".env {number}", environment)
    journal = ["docker", "exec", host.container, "journalctl", "--quiet", "--output=export", f"--since=@{since}"]
    told = subprocess.run(journal, check=True, capture_output=True).stdout
    evidence.host["journal"] = told.decode(errors="replace")
    assert "ansible-serverkit.core.serverkit_app" in evidence.host["journal"]


def collect_files(evidence: Evidence, host: PlaybookHost, *places: str) -> None:
    """Read what is in directories of the host, but for each `.env`, of which the generated secrets are learned."""
    # Whoever writes to its log meanwhile need not stop.
    pack = ["tar", "-c", "-C", "/", "--exclude=var/log/journal", "--warning=no-file-changed", *places]
    packed = subprocess.run(["docker", "exec", host.container, *pack], check=False, capture_output=True)
    assert packed.returncode in (0, 1), packed.stderr
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is None:
                continue
            text = stream.read().decode(errors="replace")
            if member.name.endswith("/.env"):
                evidence.environments[member.name] = member.mode
                evidence.learn(member.name, text)
            else:
                evidence.host[f"/{member.name}"] = text
