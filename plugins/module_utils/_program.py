# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""The program `serverkit` on a host: the backups that it makes by itself, without a controller.

It is these module_utils in one file that Python runs (zipapp), called by systemd's timers. What it does is what the
modules do, by the same code.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.serverkit.core.plugins.module_utils._edges import locks
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import SubprocessCommands
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, ServerkitError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import backup_settings, restic, settings
from ansible_collections.serverkit.core.plugins.module_utils._gateways.backup_settings import BackupSettings
from ansible_collections.serverkit.core.plugins.module_utils._plan.redaction import redact
from ansible_collections.serverkit.core.plugins.module_utils._runner.backup_status import statuses, wanted_apps
from ansible_collections.serverkit.core.plugins.module_utils._runner.backups import Backups
from ansible_collections.serverkit.core.plugins.module_utils._runner.core import converge
from ansible_collections.serverkit.core.plugins.module_utils._runner.host import Host
from ansible_collections.serverkit.core.plugins.module_utils._runner.restores import Restores
from ansible_collections.serverkit.core.plugins.module_utils._values import backup_request, repository, restore
from ansible_collections.serverkit.core.plugins.module_utils._values.outcome import Failure, Outcome

_LOCK = "backups-of-host"
_DEFAULTS = {"keep": {"daily": 7, "weekly": 4, "monthly": 6}}
_COMMANDS = {
    "backup": "back up the apps, or tell how their backups are",
    "drill": "restore the newest backups into a throwaway place, and take it away again",
    "facts": "print how the backups are, as Ansible's local facts",
}
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


class Program:
    """One call of the program."""

    def __init__(self, chosen: argparse.Namespace, host_settings: settings.Settings, config: BackupSettings) -> None:
        self._chosen = chosen
        self._secrets: set[str] = set()
        self._settings = config
        self._host = Host(SubprocessCommands(), host_settings, False, self._secrets.add)
        for secret in (host_settings.registry_dsn, *self._of_repository()):
            self._secrets.add(secret)

    def back_up(self) -> int:
        """Make a set of each app, and return the exit status."""
        options = {**self._settings.task, "reason": "scheduled"}
        with locks.held(_LOCK):
            well = self._for_each_app(lambda app: self._backed_up(app, options))
            sound = self._repository_is_sound()
        return int(not (well and sound))

    def check(self) -> int:
        """Say how the backups are, and return the exit status: 1 when one is missing, failed or stale."""
        found = statuses(self._apps(), self._settings)
        if self._chosen.json:
            self._say(json.dumps({status.app: status.facts for status in found}, indent=2))
            return int(any(status.problems for status in found))
        for status in found:
            well = f"{status.set}, {_age(status.age)} old, {_size(status.size)}"
            self._say(f"{status.app}: {'; '.join(status.problems) or well}", bad=bool(status.problems))
        return int(any(status.problems for status in found))

    def drill(self) -> int:
        """Restore the newest set of each app into a throwaway place, and return the exit status."""
        with locks.held(_LOCK):
            return int(not self._for_each_app(self._drilled))

    def facts(self) -> int:
        """Print what Ansible's local facts tell of the backups."""
        found = statuses(self._apps(), self._settings)
        apps = {status.app: status.facts for status in found}
        self._say(json.dumps({"ok": not any(status.problems for status in found), "apps": apps}))
        return 0

    def _apps(self) -> Sequence[str]:
        if self._chosen.app:
            return tuple(self._chosen.app)
        wanted = wanted_apps(self._settings, self._host)
        for app in wanted.unfinished:
            self._say(f"{app}: left out, since a restore or a drill that makes it has not come to its end", bad=True)
        return wanted.apps

    def _backed_up(self, app: str, options: Mapping[str, Any]) -> list[Outcome]:
        item = {**_DEFAULTS, **self._settings.item(app)}
        return converge(Backups(self._host, options), [backup_request.parse(item)], check=False)

    def _drilled(self, app: str) -> list[Outcome]:
        item = {"app": app, "drill": True}
        return converge(Restores(self._host, self._settings.task), [restore.parse(item)], check=False)

    def _for_each_app(self, work: Callable[[str], list[Outcome]]) -> bool:
        """Do something for one app after another, whatever becomes of the others; tell whether all went well."""
        well = True
        for app in self._apps():
            well = self._report(_attempt(app, work)) and well
        return well

    def _report(self, outcome: Outcome) -> bool:
        """Print an outcome, and return whether it is none of a failure."""
        failed = isinstance(outcome, Failure)
        if self._chosen.json:
            told = {"msg": str(outcome.error)} if isinstance(outcome, Failure) else dict(outcome.facts)
            self._say(json.dumps({**told, "name": outcome.name, "failed": failed}))
        elif isinstance(outcome, Failure):
            self._say(f"{outcome.name}: FAILED. {outcome.error}", bad=True)
        else:
            for warning in outcome.warnings:
                self._say(f"{outcome.name}: warning: {warning}", bad=True)
            self._say(f"{outcome.name}: {_summary(outcome.facts)}")
        return not failed

    def _repository_is_sound(self) -> bool:
        parsed = repository.parse(self._settings.repository)
        if parsed is None:
            return True
        try:
            with restic.opened(self._host.commands, parsed) as opened:
                opened.check(self._settings.read_data)
        except ServerkitError as error:
            self._say(f"repository: {error}", bad=True)
            return False
        return True

    def _of_repository(self) -> tuple[str, ...]:
        parsed = repository.parse(self._settings.repository)
        return parsed.secrets if parsed else ()

    def _say(self, text: str, *, bad: bool = False) -> None:
        # A terminal and the journal both want it now, not when a buffer is full.
        stream = sys.stderr if bad else sys.stdout
        stream.write(f"{redact(text, filter(None, self._secrets))}\n")
        stream.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status: 1 when something failed or is stale, 2 when it was called wrongly."""
    chosen = _parser().parse_args(arguments)
    try:
        program = Program(chosen, settings.load(), backup_settings.load(chosen.config))
        run: dict[str, Callable[[], int]] = {
            "backup": program.check if chosen.check else program.back_up,
            "drill": program.drill,
            "facts": program.facts,
        }
        return run[chosen.command]()
    except ServerkitError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _attempt(app: str, work: Callable[[str], list[Outcome]]) -> Outcome:
    try:
        return work(app)[0]
    except ServerkitError as error:
        return Failure(app, error)
    except OSError as error:
        return Failure(app, HostError(f"work on the backups of {app}", str(error)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="serverkit", description="Backups of this host's apps, by serverkit.core.")
    parser.set_defaults(check=False)
    parser.add_argument("--config", default=backup_settings.PATH, help="default: %(default)s")
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    for name, text in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.add_argument("--app", action="append", default=[], metavar="APP", help="only this one; can be repeated")
        command.add_argument("--json", action="store_true", help="print JSON")
        if name == "backup":
            command.add_argument(
                "--check", action="store_true", help="back up nothing; fail when one failed or is stale"
            )
    return parser


def _summary(facts: Mapping[str, Any]) -> str:
    if "drill" in facts:
        old = _age(facts.get("data_age", 0))
        return f"{facts.get('set')} can be restored, {facts.get('seconds')} s, the data are {old} old"
    if "set" not in facts:
        return "nothing to do"
    copied = f", copied as {facts['snapshot']}" if facts.get("snapshot") else ""
    gone = f", {len(facts['removed'])} older ones removed" if facts.get("removed") else ""
    return f"{facts['set']}, {_size(facts['size'])} in {facts['seconds']} s{copied}{gone}"


def _age(seconds: int) -> str:
    return next((f"{seconds // unit} {name}" for unit, name in _UNITS if seconds >= 2 * unit), f"{seconds} s")


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
