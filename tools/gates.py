# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates that a change has to pass. `python3 tools/gates.py lint types` runs those two; `test` is all of them."""

from __future__ import annotations

import argparse
import concurrent.futures
import itertools
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import console
import dev

ROOT = dev.ROOT
DEV = dev.DEV
TESTBED = ROOT / "testbed" / "testbed.py"
PROGRAMS = ("tools", "testbed", "demo", "tests/benchmark")
CORES = {"main": "ansible-core 2.19", "newest": "newest ansible-core"}


@dataclass(frozen=True)
class Result:
    """A line of the summary."""

    gate: str
    seconds: float
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    note: str = ""
    troubles: tuple[str, ...] = ()  # what failed and why, a line each


# How pytest, Ansible, ansible-test and Molecule begin the lines that say what was wrong.
TELLING = re.compile(r"(?:E   |ERROR|FAILED |fatal: |CRITICAL)")


def _telling(output: str, most: int = 8, width: int = 300) -> tuple[str, ...]:
    """What a program that failed said of it: for the summary, since whoever reads the end of a long log has no more."""
    lines = output.splitlines()
    return tuple(line[:width] for line in ([line for line in lines if TELLING.match(line)] or lines)[-most:])


def tool(venv: pathlib.Path, gate: str, argv: Sequence[str | pathlib.Path], **variables: str) -> Result:
    """A gate that is one program: its exit code decides."""
    env = dev.environment(venv) | variables
    run = console.run([venv / "bin" / argv[0], *argv[1:]], cwd=ROOT, env=env, label=gate)
    if run.code == 0:
        return Result(gate, run.seconds, passed=1)
    return Result(gate, run.seconds, failed=1, troubles=_telling(run.output))


# --- lint ------------------------------------------------------------------------------------------------------------


def lint() -> Iterator[Result]:
    venv = dev.ensure_venv("main")
    yield tool(venv, "ruff check", ["ruff", "check", "."])
    yield tool(venv, "ruff format", ["ruff", "format", "--check", "."])
    yield tool(venv, "ansible-lint", ["ansible-lint", "--offline", "--nocolor"])
    # They write a log into the home directory.
    home = DEV / "home"
    home.mkdir(exist_ok=True)
    docs = ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs=self", "."]
    yield tool(venv, "antsibull-docs", docs, HOME=str(home))
    yield tool(venv, "antsibull-changelog", ["antsibull-changelog", "lint"], HOME=str(home))


# --- types -----------------------------------------------------------------------------------------------------------


def types() -> Iterator[Result]:
    venv = dev.ensure_venv("main")
    yield tool(venv, "mypy plugins", ["mypy", "-p", "ansible_collections.serverkit.core.plugins"])
    for folder in PROGRAMS:
        if any((ROOT / folder).glob("*.py")):
            # Files import each other by bare names, as Python does for a script's own folder, and the test bed's.
            path = os.pathsep.join(str(ROOT / name) for name in dict.fromkeys((folder, "testbed")))
            yield tool(venv, f"mypy {folder}", ["mypy", folder], MYPYPATH=path)


# --- units -----------------------------------------------------------------------------------------------------------


def units(arguments: Sequence[str] = ()) -> Iterator[Result]:
    for name in CORES:
        yield _units(name, arguments)


def _units(name: str, arguments: Sequence[str]) -> Result:
    gate = f"units, {CORES[name]}"
    try:
        venv = dev.ensure_venv(name)
    except dev.Unavailable as problem:
        if name == "main":
            raise
        return _skip(gate, str(problem))
    env = dev.environment(venv)
    if name != "main":
        # Properties are those of pure code: thousands of examples on a second Ansible would find nothing new.
        env.pop("HYPOTHESIS_PROFILE", None)
    return _pytest(gate, venv, f"units-{name}", ["-n", "auto", *arguments], env)


INTEGRATION_HOST = "serverkit-integration"
# Each costs some 60 % of a core, and some 300 MiB.
LANES = 3


def integration(arguments: Sequence[str] = ()) -> Iterator[Result]:
    """Against real engines, servers and processes.

    Part of the tests start nginx and databases here, one after another, since they share the machine's ports. Part of
    them use a server of the test bed: when all are run, they take lanes of their own (tests/integration/conftest.py).
    """
    venv = dev.ensure_venv("main")
    env = dev.environment(venv)
    chosen = env.get("SERVERKIT_TEST_HOST", "").split()
    lanes = 1 if arguments else LANES
    hosts = [f"{INTEGRATION_HOST}-{number}" for number in range(1, lanes + 1)] if not chosen else []
    unprepared = list(_testbed(venv, _preparation(hosts)))
    if unprepared:
        yield from unprepared
        return
    names = chosen or hosts
    env["SERVERKIT_TEST_HOST"] = " ".join(names)
    options = ["-vv", "-n", str(len(names)), "--no-loadscope-reorder"] if names[1:] else ["-v"]
    try:
        result = _pytest("integration", venv, "integration", [*options, *(arguments or ["tests/integration"])], env)
        # All that these tests need was made ready above, so one that is skipped has silently stopped testing.
        yield replace(result, failed=result.failed + result.skipped, skipped=0) if result.skipped else result
    finally:
        for host in hosts:
            tool(venv, "testbed host destroy", ["python", TESTBED, "host", "destroy", host])


def _testbed(venv: pathlib.Path, commands: Iterable[Sequence[str]]) -> Iterator[Result]:
    """Prepare the test bed; yields the command that fails, and nothing when all is well."""
    for command in commands:
        result = tool(venv, f"testbed {' '.join(command[:2])}", ["python", TESTBED, *command])
        if result.failed:
            yield result
            return


def _preparation(hosts: Iterable[str]) -> Iterator[list[str]]:
    yield ["engine"]
    yield ["programs"]
    for host in hosts:
        # A host of an interrupted run may hold anything.
        yield ["host", "destroy", host]
        yield ["host", "create", host, "--image", "ready-trixie"]
        yield ["host", "load", host, "python:3.12-slim"]


def _pytest(gate: str, venv: pathlib.Path, name: str, arguments: Sequence[str], env: Mapping[str, str]) -> Result:
    report = DEV / "reports" / f"{name}.xml"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    argv = ["-m", "pytest", "-q", f"--junitxml={report}", *arguments]
    run = console.run([venv / "bin" / "python", *argv], cwd=ROOT, env=env, label=gate)
    passed = failed = skipped = 0
    troubles: tuple[str, ...] = ()
    if report.exists():
        root = ET.parse(report).getroot()
        troubles = tuple(_troubles(root))
        for suite in root.iter("testsuite"):
            total, bad, left_out = (
                int(suite.get("tests", 0)),
                int(suite.get("failures", 0)) + int(suite.get("errors", 0)),
                int(suite.get("skipped", 0)),
            )
            passed, failed, skipped = passed + total - bad - left_out, failed + bad, skipped + left_out
    note = ""
    # A run that collected nothing (5), or that died, is no success whatever the report says.
    if run.code != 0 and not failed:
        failed, note = 1, f"pytest ended with {run.code}" + (": no tests were found" if run.code == 5 else "")
    return Result(gate, run.seconds, max(passed, 0), failed, skipped, note, troubles)


def _troubles(report: ET.Element) -> Iterator[str]:
    for case in report.iter("testcase"):
        for trouble in case:
            if trouble.tag in {"failure", "error"}:
                why = " ".join(trouble.get("message", "").split())
                yield f"{case.get('classname')}::{case.get('name')}: {why[:300]}"


# --- sanity ----------------------------------------------------------------------------------------------------------


def sanity(arguments: Sequence[str] = ()) -> Iterator[Result]:
    for name in CORES:
        yield _sanity(name, arguments)


def _git_files() -> list[str]:
    """What git knows or would add: the checkout without everything that is ignored."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    # A file deleted but not yet committed is still in the index.
    return sorted(name for name in set(listing.stdout.split("\0")) if name and os.path.lexists(ROOT / name))


def _copy_for_sanity() -> pathlib.Path:
    """ansible-test resolves symlinks and insists on .../ansible_collections/NAMESPACE/NAME, so it gets a real copy."""
    copy = DEV / "sanity" / "ansible_collections" / "serverkit" / "core"
    copy.mkdir(parents=True, exist_ok=True)
    # A repository of its own: ansible-test would find the checkout's, in which .dev/ is ignored, and see no files.
    subprocess.run(["git", "init", "--quiet", copy], check=True)
    wanted = set(_git_files())
    for name in wanted:
        source, target = ROOT / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(target):
            target.unlink()
        shutil.copy2(source, target, follow_symlinks=False)
    for folder, _folders, names in os.walk(copy, topdown=False):
        here = pathlib.Path(folder)
        if {copy / ".git", copy / "tests" / "output"} & {here, *here.parents}:
            continue
        for name in names:
            if (here / name).relative_to(copy).as_posix() not in wanted:
                (here / name).unlink()
        if not any(here.iterdir()):
            here.rmdir()
    return copy


def _home_for_sanity(venv: pathlib.Path) -> pathlib.Path:
    """A home of its own: ansible-test keeps virtual environments and downloads in ~/.ansible/test."""
    home = DEV / "home"
    home.mkdir(parents=True, exist_ok=True)
    # pip still has to find the user's package index. ansible-test drops PIP_* variables, the files it cannot drop.
    for name in (".config/pip", ".pip"):
        theirs, ours = pathlib.Path.home() / name, home / name
        if theirs.exists() and not os.path.lexists(ours):
            ours.parent.mkdir(parents=True, exist_ok=True)
            ours.symlink_to(theirs)
    # ansible-test downloads get-pip.py from a server of its own, which a machine with a package mirror alone cannot
    # reach. Python brings a pip that does as well, and the download is skipped when the file is there.
    setup = next(venv.glob("lib/python3*/site-packages/ansible_test/_internal/python_requirements.py"))
    versions = set(re.findall(r"\bpip='([0-9.]+)'", setup.read_text()))
    if not versions:
        console.say("... sanity: found no pip version in ansible-test; it will download get-pip.py")
    cache = home / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in versions:
        (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(
            "import ensurepip\nensurepip.bootstrap(upgrade=True, default_pip=True)\n"
        )
    return home


def _sanity(name: str, arguments: Sequence[str]) -> Result:
    gate = f"sanity, {CORES[name]}"
    try:
        venv = dev.ensure_venv(name)
    except dev.Unavailable as problem:
        if name == "main":
            raise
        return _skip(gate, str(problem))
    python = dev.probe(str(venv / "bin" / "python"))
    if python is None:
        raise dev.Unavailable(f"{venv} has no working Python")
    with dev.locked("sanity"):
        copy = _copy_for_sanity()
        env = dev.environment(venv) | {"HOME": str(_home_for_sanity(venv))}
        # The copy lies in a real tree, which ansible-test sets up itself.
        del env["ANSIBLE_COLLECTIONS_PATH"]
        version = ".".join(map(str, python.version))
        argv = ["sanity", "--local", "--python", version, "--color", "no", *arguments]
        run = console.run([venv / "bin" / "ansible-test", *argv], cwd=copy, env=env, label=gate)
    ran = len(re.findall(r"^Running sanity test ", run.output, re.MULTILINE))
    absent = re.findall(r'^WARNING: Required program "(.*)" not found', run.output, re.MULTILINE)
    listed = re.search(r"The (\d+) sanity test\(s\) listed below", run.output)
    failed = int(listed.group(1)) if listed else int(run.code != 0)
    note = f"not installed: {', '.join(absent)}" if absent else ""
    if not ran and not failed:
        # It ends with 0 when it finds no files at all.
        failed, note = 1, "no sanity test ran"
    troubles = _telling(run.output) if failed else ()
    return Result(gate, run.seconds, max(ran - failed - len(absent), 0), failed, len(absent), note, troubles)


# --- molecule --------------------------------------------------------------------------------------------------------


_taking = threading.Lock()
_taken: set[str] = set()


def _take(scenario: str) -> bool:
    """Whether no lane has begun this scenario; from now on one has."""
    with _taking:
        new = scenario not in _taken
        _taken.add(scenario)
    return new


def molecule(only: Sequence[str] = ()) -> Iterator[Result]:
    venv = dev.ensure_venv("main")
    dev.ensure_tree()
    scenarios = sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))
    if only:
        scenarios = [name for name in scenarios if name in only]
    if not scenarios:
        yield Result("molecule", 0, failed=1, note="no scenario found in molecule/")
        return
    # Scenarios share the engine and the images of the test hosts; prepared once here, a failure has one place.
    unprepared = list(_testbed(venv, [["engine"], ["images"]]))
    if unprepared:
        yield from unprepared
        yield Result("molecule", 0, failed=len(scenarios), note="not run: no test hosts")
        return
    for name in filter(_take, scenarios):
        if console.marked():
            console.mark(f"{name}: ")
        yield tool(venv, f"molecule, {name}", ["molecule", "test", "--scenario-name", name])


def tidy() -> Iterator[Result]:
    """Leave no container, volume or network of the test bed behind; its images are the cache of the next run."""
    venv = dev.ensure_venv("main")
    argv = [str(venv / "bin" / "python"), str(TESTBED), "host", "list"]
    servers = subprocess.run(argv, capture_output=True, text=True, check=True, env=dev.environment(venv)).stdout
    if servers.strip():
        console.say(f"... the mirror of the test bed stays, since there are other servers:\n{servers}")
        return
    yield tool(venv, "testbed destroy", ["python", TESTBED, "destroy", "--keep-images"])


# --- all -------------------------------------------------------------------------------------------------------------


def _skip(gate: str, why: str) -> Result:
    console.say(f"... {gate}: SKIPPED, {why}")
    return Result(gate, 0, skipped=1, note=f"skipped: {why}")


MOST_TROUBLES = 20  # of one gate


def summary(results: Sequence[Result], seconds: float) -> str:
    head = ("gate", "passed", "failed", "skipped", "time", "")
    rows = [
        (r.gate, str(r.passed), str(r.failed), str(r.skipped), console.duration(r.seconds), r.note or _verdict(r))
        for r in results
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if column in (0, 5) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, *rows)
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    troubles = [f"{r.gate}: {trouble}" for r in results for trouble in r.troubles[:MOST_TROUBLES]]
    if troubles:
        lines += ["", *troubles]
    passed, failed = sum(r.passed for r in results), sum(r.failed for r in results)
    return "\n".join([*lines, "", f"total time {console.duration(seconds)}", f"{passed} passed, {failed} failed"])


def _verdict(result: Result) -> str:
    return "FAILED" if result.failed else "ok"


GATES: dict[str, Callable[[Sequence[str]], Iterator[Result]]] = {
    "lint": lambda _arguments: lint(),
    "types": lambda _arguments: types(),
    "sanity": sanity,
    "units": units,
    "integration": integration,
    "molecule": molecule,
    "tidy": lambda _arguments: tidy(),
}
# Lanes: much in them waits, for servers and for health. Whichever is free takes the next scenario of Molecule.
SIDE_BY_SIDE = (("units", "integration", "molecule"), ("molecule", "sanity"))
TEST = ("lint", "types", "units", "integration", "molecule", "sanity", "tidy")


def _steps(gates: Sequence[str]) -> Iterator[list[list[str]]]:
    """The gates in their order, in steps; a step is made of lanes, which run side by side."""
    for beside, names in itertools.groupby(gates, frozenset(itertools.chain(*SIDE_BY_SIDE)).__contains__):
        wanted = list(names)
        if beside:
            yield [chosen for lane in SIDE_BY_SIDE if (chosen := [name for name in lane if name in wanted])]
        else:
            yield [wanted]


def _run(lanes: Sequence[Sequence[str]], arguments: Sequence[str]) -> Iterator[Result]:
    if len(lanes) == 1:
        for name in lanes[0]:
            yield from GATES[name](arguments)
        return

    def run(names: Sequence[str]) -> list[Result]:
        results: list[Result] = []
        for name in names:
            console.mark(f"{name}: ")
            results.extend(GATES[name](arguments))
        return results

    # What several need, so that one does not wait in the dark for the other's.
    yield from _testbed(dev.ensure_venv("main"), [["engine"], ["programs"], ["images"]])
    with concurrent.futures.ThreadPoolExecutor(max_workers=len(lanes)) as pool:
        for results in pool.map(run, lanes):
            yield from results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gates", nargs="+", choices=[*GATES, "test"], metavar="gate", help=", ".join([*GATES, "test"]))
    parser.add_argument(
        "--args", default="", help="further arguments for pytest or ansible-test; for molecule, names of scenarios"
    )
    arguments = parser.parse_args()
    gates = [gate for name in arguments.gates for gate in (TEST if name == "test" else (name,))]
    results: list[Result] = []
    started = time.monotonic()
    try:
        dev.ensure_tree()
        for lanes in _steps(gates):
            results.extend(_run(lanes, shlex.split(arguments.args)))
    except dev.Unavailable as problem:
        results.append(Result("environment", time.monotonic() - started, failed=1, note=str(problem)))
    except KeyboardInterrupt:
        results.append(Result("interrupted", time.monotonic() - started, failed=1))
    console.say("\n" + summary(results, time.monotonic() - started))
    return int(any(result.failed for result in results))


if __name__ == "__main__":
    sys.exit(main())
