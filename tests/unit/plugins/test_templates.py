# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import pathlib

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.plugin_utils.templates import COLLECTION_TEMPLATES, TemplateLibrary

TEXT = "name: {name}\nversion: '1'\ncompose: {{services: {{app: {{image: x}}}}}}\n"


def place(path: pathlib.Path, name: str = "Own") -> pathlib.Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEXT.format(name=name), encoding="utf-8")
    return path


@pytest.fixture
def library(tmp_path: pathlib.Path) -> TemplateLibrary:
    for name in ("role/tasks", "role", "play", "extra"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    task = [str(tmp_path / "role"), str(tmp_path / "role/tasks"), str(tmp_path / "play")]
    return TemplateLibrary(task, [str(tmp_path / "extra"), "below"], str(tmp_path / "play"))


def test_the_collections_templates_are_found(library: TemplateLibrary) -> None:
    found = library.load("wordpress")
    assert found.path == str(COLLECTION_TEMPLATES / "wordpress.yaml")
    assert found.template.id == "wordpress"
    assert json.loads(json.dumps(found.document)) == found.document


def test_the_nearest_one_is_taken(tmp_path: pathlib.Path) -> None:
    play = tmp_path / "play"
    wanted = [
        COLLECTION_TEMPLATES / "wordpress.yaml",
        place(play / "below" / "wordpress.yaml"),
        place(tmp_path / "extra" / "wordpress.yml"),
        place(play / "templates" / "wordpress.yaml"),
        place(play / "wordpress.yaml"),
        place(tmp_path / "role" / "templates" / "wordpress.yaml"),
    ]
    while wanted:
        library = TemplateLibrary([str(tmp_path / "role"), str(play)], [str(tmp_path / "extra"), "below"], str(play))
        assert library.load("wordpress").path == str(wanted[-1])
        wanted.pop().unlink() if len(wanted) > 1 else wanted.clear()


def test_the_playbooks_own_directory_counts_without_a_task(tmp_path: pathlib.Path) -> None:
    path = place(tmp_path / "templates" / "own.yaml")
    assert TemplateLibrary([], [], str(tmp_path)).load("own").path == str(path)


@pytest.mark.parametrize("name", ["files/own.yaml", "own.yml", "{absolute}"])
def test_a_path(library: TemplateLibrary, tmp_path: pathlib.Path, name: str) -> None:
    place(tmp_path / "play" / "files" / "own.yaml")
    place(tmp_path / "role" / "own.yml")
    absolute = place(tmp_path / "elsewhere.yaml")
    found = library.load(name.format(absolute=absolute))
    assert found.template.name == "Own"
    assert found.template.id == pathlib.Path(found.path).stem


@pytest.mark.parametrize("name", ["../x", "a/../../x", "..", "", "a b", "a;b", "x\n", "a\0b", "-x", "x" * 101])
def test_names_that_are_none(library: TemplateLibrary, name: str) -> None:
    with pytest.raises(InputError) as caught:
        library.load(name)
    assert repr(name) in str(caught.value)


def test_an_unknown_template(library: TemplateLibrary, tmp_path: pathlib.Path) -> None:
    place(tmp_path / "extra" / "wordpress-own.yaml")
    with pytest.raises(InputError) as caught:
        library.load("wordpres")
    message = str(caught.value)
    assert str(tmp_path / "extra") in message
    assert str(COLLECTION_TEMPLATES) in message
    assert message.endswith("Did you mean wordpress or wordpress-own?")


def test_an_unknown_template_that_resembles_none(library: TemplateLibrary) -> None:
    with pytest.raises(InputError, match=r"There are: flask-hello-world, .*, wordpress\."):
        library.load("qqq")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: 1\na: 2", "line 2: the key 'a' is there twice"),
        (b"compse: {}", "own.yaml: compse: it is not a known key; did you mean compose?"),
        (b"\xff\xfe", "it is not UTF-8 text at byte 0"),
    ],
)
def test_a_file_that_is_no_template(
    library: TemplateLibrary, tmp_path: pathlib.Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "extra" / "own.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        library.load("own")
    assert reason in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_is_read_once(library: TemplateLibrary, tmp_path: pathlib.Path) -> None:
    path = place(tmp_path / "extra" / "own.yaml")
    found = library.load("own")
    path.unlink()
    assert library.load("own") is found
