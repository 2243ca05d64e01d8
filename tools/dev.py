# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepare what development needs, all of it below .dev/: virtual environments and the collection tree.

Runs on any Python 3 that a machine happens to have, with nothing installed; it looks for a better one itself.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import console

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEV = ROOT / ".dev"


@dataclass(frozen=True)
class Venv:
    """A virtual environment: where it lies, what is in it, and which Pythons may carry it."""

    name: str
    requirements: tuple[pathlib.Path, ...]
    pythons: tuple[str, ...]
    minimum: tuple[int, int]

    @property
    def path(self) -> pathlib.Path:
        return DEV / ("venv" if self.name == "main" else f"venv-{self.name}")


VENVS = {
    # ansible-core 2.19 and every tool. It supports 3.11 to 3.13; whatever `python3` is comes last.
    "main": Venv(
        "main",
        (ROOT / "requirements-dev.txt",),
        ("python3.13", "python3.12", "python3.11", "python3"),
        (3, 11),
    ),
    # The newest ansible-core, which asks for 3.12.
    "newest": Venv(
        "newest",
        (ROOT / "requirements-newest.txt",),
        ("python3.14", "python3.13", "python3.12", "python3"),
        (3, 12),
    ),
    # What the benchmarks compare with.
    "bench": Venv(
        "bench",
        (ROOT / "requirements-dev.txt", ROOT / "tests" / "benchmark" / "requirements.txt"),
        ("python3.13", "python3.12", "python3.11", "python3"),
        (3, 11),
    ),
}


class Unavailable(Exception):
    """Something that is needed cannot be had here. The message says what, and what a person could do."""


@dataclass(frozen=True)
class Python:
    path: str
    version: tuple[int, int]
    can_make_venvs: bool


PROBE = """
import importlib.util, sys
import sqlite3, ssl, venv
print(sys.executable, *sys.version_info[:2], importlib.util.find_spec("ensurepip") is not None)
"""


def probe(path: str) -> Python | None:
    """Ask a Python what it is. A name on PATH proves nothing: a version manager's stub may have none to start."""
    try:
        answer = subprocess.run(
            [path, "-c", PROBE], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = answer.stdout.split()
    if answer.returncode != 0 or len(words) != 4:
        return None
    return Python(words[0], (int(words[1]), int(words[2])), words[3] == "True")


def candidates(venv: Venv) -> Iterator[Python]:
    """The Pythons that could carry the environment, best first."""
    paths = [found for found in map(shutil.which, venv.pythons) if found]
    # Where a version manager's stub comes first on PATH and is dead, the distribution's own is behind it.
    paths += [f"/usr/bin/{name}" for name in venv.pythons if pathlib.Path("/usr/bin", name).exists()]
    if venv.name == "newest":
        # This leg is worth having even where its Python is installed but not selected.
        pyenv = pathlib.Path(os.environ.get("PYENV_ROOT") or pathlib.Path.home() / ".pyenv") / "versions"
        paths += [str(path) for name in venv.pythons[:-1] for path in sorted(pyenv.glob(f"*/bin/{name}"))]
    for path in dict.fromkeys(paths):
        python = probe(path)
        if python and python.version >= venv.minimum:
            yield python


def apt_install(packages: list[str]) -> bool:
    """Install Debian packages, through sudo unless root. False: it could not be done."""
    if not shutil.which("apt-get"):
        return False
    prefix = [] if os.geteuid() == 0 else ["sudo"]
    if prefix and not shutil.which("sudo"):
        return False
    # Not in the environment but in argv, since sudo drops the environment.
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    label = f"installing {' '.join(packages)}"
    install = [*apt, "install", "-y", "--no-install-recommends", *packages]
    env = dict(os.environ)
    if console.run(install, cwd=ROOT, env=env, label=label, quiet=True).code == 0:
        return True
    # A fresh machine has no package lists yet.
    if console.run([*apt, "update"], cwd=ROOT, env=env, label="apt-get update", quiet=True).code != 0:
        return False
    return console.run(install, cwd=ROOT, env=env, label=label, quiet=True).code == 0


def find_python(venv: Venv) -> Python:
    wanted = ".".join(map(str, venv.minimum))
    found = list(candidates(venv))
    for python in found:
        if python.can_make_venvs:
            return python
    if venv.name == "newest":
        # Only a second leg: nobody's system is changed for it.
        raise Unavailable(f"no Python >= {wanted} that can make virtual environments")
    for python in found:
        # Debian and Ubuntu keep the part that makes virtual environments in a package of its own.
        if apt_install([f"python{python.version[0]}.{python.version[1]}-venv"]):
            again = probe(python.path)
            if again and again.can_make_venvs:
                return again
    if not found:
        # Ubuntu 22.04: its own is 3.10, a newer one lies beside it in the archive.
        for name in venv.pythons[:-1]:
            if apt_install([name, f"{name}-venv"]):
                python_or_none = probe(f"/usr/bin/{name}")
                if python_or_none and python_or_none.can_make_venvs:
                    return python_or_none
    raise Unavailable(
        f"Python >= {wanted} with the venv module is needed: install python3.11 and python3.11-venv or newer"
    )


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Two runs of make at once must not build one thing together. The kernel lets go of the lock when we die."""
    DEV.mkdir(exist_ok=True)
    with (DEV / f"{name}.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.say(f"... {name}: waiting for another run that is at it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def ensure_venv(name: str) -> pathlib.Path:
    """Build the environment unless the one that is there was built, whole, from the same requirements."""
    venv = VENVS[name]
    digest = hashlib.sha256()
    for path in venv.requirements:
        digest.update(path.read_bytes())
    # Scripts in it name their interpreter by absolute path, so a checkout that moved needs a new one.
    stamp = f"{digest.hexdigest()} {venv.path}\n"
    stamp_path = venv.path / "serverkit-stamp"
    with locked(venv.path.name):
        if stamp_path.exists() and stamp_path.read_text() == stamp and probe(str(venv.path / "bin" / "python")):
            return venv.path
        python = find_python(venv)
        version = ".".join(map(str, python.version))
        console.say(f"Building {venv.path.relative_to(ROOT)} with Python {version} ({python.path}); a minute or two")
        # Removed first, the stamp inside included: half an environment must never look like a whole one.
        if venv.path.exists():
            shutil.rmtree(venv.path)
        env = {key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "PYTHONPATH")}
        steps: list[tuple[str, list[str]]] = [
            ("python -m venv", [python.path, "-m", "venv", str(venv.path)]),
            (
                f"installing {' and '.join(path.name for path in venv.requirements)}",
                [
                    str(venv.path / "bin" / "python"),
                    *("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"),
                    *(word for path in venv.requirements for word in ("-r", str(path))),
                ],
            ),
        ]
        for label, argv in steps:
            if console.run(argv, cwd=ROOT, env=env, label=label, quiet=True).code != 0:
                raise Unavailable(f"{label} failed, see above; a package index has to be in reach the first time")
        stamp_path.write_text(stamp)
    return venv.path


def ensure_tree() -> pathlib.Path:
    """Make the checkout importable as a collection: .dev is a collections path with a symlink to it."""
    link = DEV / "ansible_collections" / "serverkit" / "core"
    # Relative, so that it survives a move of the checkout.
    target = pathlib.Path("..", "..", "..")
    with locked("tree"):
        link.parent.mkdir(parents=True, exist_ok=True)
        if not (link.is_symlink() and link.readlink() == target):
            link.unlink(missing_ok=True)
            link.symlink_to(target, target_is_directory=True)
    return DEV


def environment(venv: pathlib.Path) -> dict[str, str]:
    """The environment that tools run in, whatever the caller's looks like."""
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "PYTHONPATH", "FORCE_COLOR")}
    env.update(
        PATH=f"{venv / 'bin'}{os.pathsep}{env.get('PATH', os.defpath)}",
        VIRTUAL_ENV=str(venv),
        # Only this tree, not ~/.ansible/collections, where an older copy may lie.
        ANSIBLE_COLLECTIONS_PATH=str(DEV),
        HYPOTHESIS_STORAGE_DIRECTORY=str(DEV / "hypothesis"),
        # Ansible refuses to run in a locale that is not UTF-8, and minimal systems have none set.
        LC_ALL="C.UTF-8",
        # What is printed also has to be read in logs.
        NO_COLOR="1",
        PYTHONUNBUFFERED="1",
    )
    return env


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make_venv = commands.add_parser("venv", help="build a virtual environment")
    make_venv.add_argument("name", nargs="?", default="main", choices=sorted(VENVS))
    commands.add_parser("tree", help="build the collection tree")
    arguments = parser.parse_args()
    try:
        if arguments.command == "venv":
            ensure_venv(arguments.name)
        else:
            ensure_tree()
    except Unavailable as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
