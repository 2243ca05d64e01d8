# SPDX-License-Identifier: GPL-3.0-or-later
"""Make `ansible_collections.serverkit.core` importable wherever the checkout lies, and set up Hypothesis.

Works under plain pytest from any path, in an `ansible_collections` tree, and under `ansible-test units`.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import pathlib
import shutil
import sys
import tempfile

import hypothesis
import pytest
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = "ansible_collections.serverkit.core"


def _importable_from() -> pathlib.Path | None:
    """The directory that the collection would be imported from now."""
    try:
        spec = importlib.util.find_spec(NAME)
    except ModuleNotFoundError:
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return pathlib.Path(next(iter(spec.submodule_search_locations))).resolve()


def _make_importable() -> None:
    tree = pathlib.Path(tempfile.mkdtemp(prefix="serverkit-tests-"))
    atexit.register(shutil.rmtree, tree, ignore_errors=True)
    (tree / "ansible_collections" / "serverkit").mkdir(parents=True)
    (tree / "ansible_collections" / "serverkit" / "core").symlink_to(ROOT, target_is_directory=True)
    # The question above imports the parents it finds, such as the package of the `ansible` distribution. They would
    # hide the finder's.
    for name in [name for name in sys.modules if name.split(".")[0] == "ansible_collections"]:
        del sys.modules[name]
    _AnsibleCollectionFinder(paths=[str(tree)])._install()


if _importable_from() is None:
    _make_importable()
_found = _importable_from()
if _found != ROOT:
    # An installed copy must not be tested in place of this checkout.
    raise pytest.UsageError(f"{NAME} is imported from {_found}, not from {ROOT}")

# Wall-clock deadlines say more about the machine than about the code.
hypothesis.settings.register_profile("dev", max_examples=40, deadline=None)
hypothesis.settings.register_profile(
    "ci",
    max_examples=5000,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    print_blob=True,
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "dev")
