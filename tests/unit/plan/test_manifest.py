# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Manifests of backup sets as text: every value comes back, and no other text is taken for one."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan.manifest import from_text, to_text
from ansible_collections.serverkit.core.plugins.module_utils._values.backup import (
    FORMAT,
    QUIESCE,
    REASONS,
    DatabaseDump,
    Manifest,
    StoredFile,
    TreeArchive,
    new_set_id,
)
from hypothesis import given
from hypothesis import strategies as st

# Names of files may hold bytes that are no UTF-8, which Python keeps as lone surrogates.
texts = st.text(st.characters(), max_size=20)
sizes = st.integers(min_value=0, max_value=2**60)
paths = st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9._-]*[a-z0-9])?", fullmatch=True)
files = st.builds(StoredFile, paths, sizes, sizes, st.from_regex(r"[0-9a-f]{64}", fullmatch=True))
dumps = st.builds(
    DatabaseDump,
    *[texts] * 7,
    file=files,
    rows=st.dictionaries(texts, sizes, max_size=3),
    moving=st.lists(texts, max_size=3).map(tuple),
)
trees = st.builds(TreeArchive, texts, texts, sizes, files)
rows = st.dictionaries(
    texts, st.one_of(texts, sizes, st.none(), st.booleans(), st.lists(texts, max_size=2)), max_size=3
)
manifests = st.builds(
    Manifest,
    app=texts,
    id=st.integers(min_value=0, max_value=2**32).map(
        lambda second: new_set_id(dt.datetime.fromtimestamp(second, dt.timezone.utc))
    ),
    created=texts,
    host=texts,
    reason=st.sampled_from(REASONS),
    quiesce=st.sampled_from(QUIESCE),
    seconds=st.floats(min_value=0, max_value=1e9),
    release=files,
    template=texts,
    template_text=texts,
    databases=st.lists(dumps, max_size=2).map(tuple),
    volumes=st.lists(trees, max_size=2).map(tuple),
    binds=st.lists(trees, max_size=2).map(tuple),
    links=st.lists(rows, max_size=2).map(tuple),
    ports=st.dictionaries(texts, texts, max_size=2),
    left_out=st.dictionaries(texts, texts, max_size=2),
    format=st.just(FORMAT),
).filter(lambda manifest: len({file.path for file in manifest.files}) == len(manifest.files))


@given(manifests)
def test_every_manifest_comes_back(manifest: Manifest) -> None:
    assert from_text(to_text(manifest), "it") == manifest


@given(manifests, st.data())
def test_a_changed_character_is_noticed(manifest: Manifest, data: st.DataObject) -> None:
    text = to_text(manifest)
    place = data.draw(st.integers(min_value=0, max_value=len(text) - 1))
    other = data.draw(st.characters(min_codepoint=32, max_codepoint=126))
    changed = text[:place] + other + text[place + 1 :]
    try:
        found = from_text(changed, "it")
    except InputError:
        return
    assert found == manifest  # white space, or the same number or character written otherwise


@given(manifests, st.integers(min_value=0, max_value=10**6))
def test_a_part_is_none(manifest: Manifest, length: int) -> None:
    text = to_text(manifest)
    with pytest.raises(InputError):
        from_text(text[: length % (len(text) - 2)], "it")


EXAMPLE = Manifest(
    app="blog",
    id="20260131T031500Z",
    created="2026-01-31T03:15:00Z",
    host="web1",
    reason="scheduled",
    quiesce="pause",
    seconds=1.5,
    release=StoredFile("release.tar.zst", 10, 20, "0" * 64),
)


def changed(**fields: Any) -> str:
    """A manifest with a right digest and other fields; None takes one out."""
    document = {**dataclasses.asdict(EXAMPLE), **fields}
    document = {key: value for key, value in document.items() if value is not None}
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return json.dumps({**document, "digest": hashlib.sha256(canonical.encode()).hexdigest()})


def test_the_digest_is_that_of_the_fields_in_order() -> None:
    assert from_text(changed(), "it") == EXAMPLE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (changed(format=FORMAT + 1), "knows up to 1"),
        ('{"format": 2}', "knows up to 1"),
        (changed(app=None), "'app' is missing|missing 1 required"),
        (changed(volumes=None), "'volumes' is missing"),
        (changed(surprise="x"), "surprise"),
        (changed(id="20261332T000000Z"), "the name of a backup set"),
        (changed(id="../../etc"), "the name of a backup set"),
        (changed(reason="because"), "its reason"),
        (changed(quiesce="maybe"), "its quiesce"),
        (changed(release={"path": "x", "size": 1, "content_size": 1, "sha256": "0"}), "no SHA-256"),
        (changed(release={"path": "x", "size": -1, "content_size": 1, "sha256": "0" * 64}), "size"),
        (changed(release={"path": "../x", "size": 1, "content_size": 1, "sha256": "0" * 64}), "path of a file in"),
        (changed(release={"path": "/etc/x", "size": 1, "content_size": 1, "sha256": "0" * 64}), "path of a file in"),
        (changed(release={"path": "a/../../x", "size": 1, "content_size": 1, "sha256": "0" * 64}), "path of a file"),
        (changed(release={"path": "", "size": 1, "content_size": 1, "sha256": "0" * 64}), "path of a file in"),
        (changed(release={"path": 1, "size": 1, "content_size": 1, "sha256": "0" * 64}), "no path"),
        (changed(release={"path": "x", "size": "1", "content_size": 1, "sha256": "0" * 64}), "no SHA-256 or size"),
        (changed(release=[]), "it"),
        (
            changed(volumes=[{"name": "a", "source": "b", "entries": 1, "file": dataclasses.asdict(EXAMPLE.release)}]),
            "two",
        ),
        (to_text(EXAMPLE).replace("blog", "shop"), "its digest"),
        ("[]", "not a JSON object"),
        ("", "line 1 column 1"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_what_is_no_manifest_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_text(text, "it")
