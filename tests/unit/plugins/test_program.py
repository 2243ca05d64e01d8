# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that hosts make their backups with: it runs by Python alone, without Ansible and any other package."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import zipfile

import pytest
from ansible_collections.serverkit.core.plugins.plugin_utils import program

# -I: nobody's settings. -S: nothing but the standard library can be imported.
PYTHON = (sys.executable, "-I", "-S")
IMPORT_ALL = """
import importlib, sys, zipfile
path = sys.argv[1]
sys.path.insert(0, path)
names = [name for name in zipfile.ZipFile(path).namelist() if name.startswith("ansible_collections")]
for name in names:
    importlib.import_module(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
assert "ansible" not in sys.modules
print(len(names))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("program") / "serverkit"
    path.write_bytes(program.build())
    path.chmod(0o755)
    return path


def run(*argv: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=False, timeout=60)


def test_all_of_it_can_be_imported_without_ansible(built: pathlib.Path) -> None:
    done = run(*PYTHON, "-c", IMPORT_ALL, built)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_it_runs_as_a_program(built: pathlib.Path) -> None:
    done = run(built, "--help")
    assert done.returncode == 0, done.stderr
    assert "backup" in done.stdout
    assert run(built, "restore-all").returncode == 2


def test_it_tells_what_is_wrong_with_its_settings(built: pathlib.Path, tmp_path: pathlib.Path) -> None:
    config = tmp_path / "backup.yaml"
    config.write_text("directories: /srv\n")
    done = run(*PYTHON, built, "--config", config, "backup", "--check")
    assert done.returncode == 1
    # PyYAML is a package of the host, and there is none here.
    assert "Install python3-yaml" in done.stderr or "unknown key: directories" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_same_source_is_the_same_file(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "module_utils"
    (source / "_values").mkdir(parents=True)
    (source / "_program.py").write_text("def main(): return 3\n")
    (source / "_module.py").write_text("import ansible\n")
    (source / "_values" / "x.py").write_text("")
    before = program.build(source)
    (source / "_program.py").touch()
    assert program.build(source) == before
    path = tmp_path / "program"
    path.write_bytes(before)
    assert run(*PYTHON, path).returncode == 3
    assert not [name for name in zipfile.ZipFile(path).namelist() if name.endswith("_module.py")]
