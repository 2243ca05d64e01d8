# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import pathlib

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import app_files
from ansible_collections.serverkit.core.plugins.module_utils._gateways.app_files import AppDirectory
from ansible_collections.serverkit.core.plugins.module_utils._values.template import RenderedFile


def release(mark: str) -> dict[str, RenderedFile]:
    return {
        "docker-compose.yml": RenderedFile(f"name: blog # {mark}, ./files/{mark}/page\n", 0o644),
        ".env": RenderedFile(f"MARK={mark}\n", 0o600),
        ".release.json": RenderedFile(f'"{mark}"\n', 0o644),
        f"files/{mark}/page": RenderedFile(mark, 0o644),
    }


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> AppDirectory:
    return AppDirectory("blog", str(tmp_path))


def test_what_was_written_is_read(directory: AppDirectory) -> None:
    assert directory.read() == {}
    directory.write(release("one"))
    assert directory.read() == release("one")
    assert oct(os.stat(f"{directory.path}/files").st_mode)[-3:] == "700"
    assert directory.leftovers() == ()


def test_an_unchanged_file_is_not_written_again(directory: AppDirectory) -> None:
    directory.write(release("one"))
    before = os.stat(f"{directory.path}/.env").st_ino
    directory.write(release("one"))
    assert os.stat(f"{directory.path}/.env").st_ino == before


def test_the_previous_release_comes_back(directory: AppDirectory) -> None:
    directory.write(release("one"))
    directory.keep_previous()
    directory.write(release("two"))
    assert directory.leftovers() == (".rollback",)
    assert directory.read_previous()[".env"].content == "MARK=one\n"
    directory.restore_previous()
    directory.restore_previous()  # a killed run may have done so already
    directory.drop_previous()
    directory.prune([path for path in release("one") if path.startswith("files")])
    assert directory.read() == release("one")
    assert sorted(os.listdir(directory.path)) == [".env", ".release.json", "docker-compose.yml", "files"]


def test_values_can_stay_in_a_restored_environment(directory: AppDirectory) -> None:
    directory.write(release("one"))
    directory.keep_previous()
    directory.write(release("two"))
    directory.restore_previous("MARK=one\nNEW=1\n")
    assert directory.read()[".env"] == RenderedFile("MARK=one\nNEW=1\n", 0o600)
    assert directory.read()["docker-compose.yml"] == release("one")["docker-compose.yml"]


def test_a_kill_while_the_previous_release_is_kept_leaves_the_older_one(directory: AppDirectory) -> None:
    directory.write(release("one"))
    directory.keep_previous()
    directory.write(release("two"))
    os.makedirs(f"{directory.path}/.rollback.new")
    assert directory.leftovers() == (".rollback", ".rollback.new")
    assert directory.read_previous()[".env"].content == "MARK=one\n"
    directory.keep_previous()
    assert directory.read_previous()[".env"].content == "MARK=two\n"


def test_half_written_files_of_killed_runs_are_cleaned_away(directory: AppDirectory) -> None:
    directory.write(release("one"))
    for name in ("..env.x1y2", ".docker-compose.yml.abcd", "..release.json.q"):
        pathlib.Path(directory.path, name).write_text("half")
    pathlib.Path(directory.path, "files/one/.page.tmp").write_text("half")
    assert len(directory.leftovers()) == 3
    directory.prune(release("one"))
    assert directory.leftovers() == ()
    assert directory.read() == release("one")


def test_removal_keeps_data_and_the_secrets_that_open_it(directory: AppDirectory) -> None:
    directory.write(release("one"))
    os.makedirs(f"{directory.path}/data")
    directory.keep_previous()
    directory.remove_release()
    assert sorted(os.listdir(directory.path)) == [".env", "data"]
    directory.purge()
    assert not directory.exists
    directory.remove_release()
    directory.purge()


def test_a_directory_without_anything_to_keep_goes(directory: AppDirectory) -> None:
    directory.write(release("one"))
    directory.remove_release(keep_environment=False)
    assert not directory.exists


def test_the_operating_systems_refusal_is_an_error_of_ours(tmp_path: pathlib.Path) -> None:
    (tmp_path / "blog").write_text("a file where the directory should be")
    with pytest.raises(HostError, match="blog"):
        AppDirectory("blog", str(tmp_path)).write(release("one"))


def test_the_copy_of_a_template(tmp_path: pathlib.Path) -> None:
    root = str(tmp_path / "templates")
    assert app_files.read_template("web", root) == ""
    app_files.write_template("web", "id: web\n", root)
    assert app_files.read_template("web", root) == "id: web\n"
    app_files.write_template("web", "", root)
    assert not os.path.exists(app_files.template_path("web", root))


LINKS = {"compose.links.yml": RenderedFile("services: {}\n", 0o644)}


def test_the_file_of_links_comes_and_goes_with_its_release(directory: AppDirectory) -> None:
    directory.write({**release("one"), **LINKS})
    assert directory.read() == {**release("one"), **LINKS}
    directory.keep_previous()
    directory.write(release("two"))
    assert "compose.links.yml" not in directory.read()
    directory.restore_previous()
    assert directory.read()["compose.links.yml"] == LINKS["compose.links.yml"]
    directory.write(release("two"))
    directory.keep_previous()
    directory.write({**release("three"), **LINKS})
    directory.restore_previous()
    assert "compose.links.yml" not in directory.read()


def test_removal_takes_the_file_of_links_and_keeps_its_secrets(directory: AppDirectory) -> None:
    directory.write({**release("one"), **LINKS})
    directory.remove_release()
    assert os.listdir(directory.path) == [".env"]


def test_an_environment_for_a_release_that_is_to_come(directory: AppDirectory) -> None:
    directory.write_environment(RenderedFile("A=1\n", 0o600))
    assert directory.read() == {".env": RenderedFile("A=1\n", 0o600)}
    directory.write_environment(None)
    assert directory.read() == {}
