# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive that users install: built as a release is, installed into an empty collections path, used from there."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import os
import pathlib
import subprocess
import sys
import tarfile

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Next to the interpreter that runs the tests, whatever PATH says.
BIN = pathlib.Path(sys.executable).parent

# What ansible-galaxy writes into the archive itself.
MADE_BY_GALAXY = {"FILES.json", "MANIFEST.json"}
# What galaxy.yml leaves out on purpose although git has it: what serves development only.
DEVELOPMENT = (
    ".*",
    "Makefile",
    "demo/*",
    "galaxy.yml",
    "molecule/*",
    "pyproject.toml",
    "requirements-*.txt",
    "testbed/*",
    "tests/benchmark/*",
    "tests/integration/*",
    "tests/packaging/*",
    "tools/*",
)


def run(*argv: str | pathlib.Path, path: pathlib.Path, home: pathlib.Path) -> str:
    """Run an Ansible command that can see the collections below `path` and nothing of this machine's settings."""
    env = {
        "ANSIBLE_COLLECTIONS_PATH": str(path),
        # Empty, and read instead of /etc/ansible/ansible.cfg.
        "ANSIBLE_CONFIG": str(home / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        [BIN / argv[0], *argv[1:]], cwd=home, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclasses.dataclass(frozen=True)
class Installed:
    """The archive's file names, and the collections path that it was installed into."""

    names: frozenset[str]
    path: pathlib.Path
    home: pathlib.Path

    @property
    def root(self) -> pathlib.Path:
        return self.path / "ansible_collections" / "serverkit" / "core"

    def documented(self, kind: str) -> set[str]:
        listing = run("ansible-doc", "-t", kind, "--list", "--json", "serverkit.core", path=self.path, home=self.home)
        return {name.removeprefix("serverkit.core.") for name in json.loads(listing)}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    home = tmp_path_factory.mktemp("home")
    (home / "ansible.cfg").touch()
    path = tmp_path_factory.mktemp("collections")
    dist = tmp_path_factory.mktemp("dist")
    run("ansible-galaxy", "collection", "build", "--output-path", dist, ROOT, path=path, home=home)
    (archive,) = dist.glob("serverkit-core-*.tar.gz")
    with tarfile.open(archive) as tar:
        names = frozenset(member.name for member in tar.getmembers() if not member.isdir())
    run("ansible-galaxy", "collection", "install", "--offline", "-p", path, archive, path=path, home=home)
    return Installed(names, path, home)


def git_files() -> set[str]:
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: nothing says which files belong to it")
    # A file deleted but not yet committed is still in the index.
    return {name for name in listing.split("\0") if name and os.path.lexists(ROOT / name)}


def test_holds_nothing_that_is_not_of_the_project(installed: Installed) -> None:
    assert installed.names - git_files() - MADE_BY_GALAXY == set()


def test_leaves_out_only_what_serves_development(installed: Installed) -> None:
    left_out = git_files() - installed.names
    assert {name for name in left_out if not any(fnmatch.fnmatch(name, pattern) for pattern in DEVELOPMENT)} == set()


@pytest.mark.parametrize(
    "litter",
    [
        "*.dev/*",
        "*__pycache__*",
        "*.pyc",
        "*/output/*",
        "*id_rsa*",
        "*id_ed25519*",
        "*.pem",
        "*.key",
        "*.tar",
        "*.tar.gz",
        "*.db",
        "*.log",
        "*.retry",
        ".git*",
    ],
)
def test_holds_no_litter(installed: Installed, litter: str) -> None:
    assert fnmatch.filter(installed.names, litter) == []


def test_metadata_agrees(installed: Installed) -> None:
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())
    info = json.loads((installed.root / "MANIFEST.json").read_text())["collection_info"]
    assert (info["namespace"], info["name"], info["version"]) == ("serverkit", "core", galaxy["version"])
    assert info["readme"] in installed.names
    assert (installed.root / "LICENSE").read_text().split()[:3] == ["GNU", "GENERAL", "PUBLIC"]


def test_modules_are_found_and_documented(installed: Installed) -> None:
    expected = {path.stem for path in (ROOT / "plugins" / "modules").glob("[!_]*.py")}
    assert expected
    assert installed.documented("module") == expected


def test_every_module_is_in_the_action_group() -> None:
    # module_defaults for group/serverkit.core.serverkit must reach all of them.
    group = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]["serverkit"]
    assert sorted(group) == sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("[!_]*.py"))


def test_roles_are_found_and_documented(installed: Installed) -> None:
    expected = {path.name for path in (ROOT / "roles").iterdir() if path.is_dir()}
    assert expected
    assert installed.documented("role") == expected


def test_playbooks_are_found_by_name(installed: Installed) -> None:
    playbooks = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
    assert playbooks
    for playbook in playbooks:
        name = f"serverkit.core.{playbook}"
        run("ansible-playbook", "--syntax-check", "-i", "localhost,", name, path=installed.path, home=installed.home)


def test_templates_are_there(installed: Installed) -> None:
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "templates").rglob("*.yaml")}
    assert expected
    assert expected <= installed.names
    assert all((installed.root / name).is_file() for name in expected)
