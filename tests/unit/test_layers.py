# SPDX-License-Identifier: GPL-3.0-or-later
"""The arrows of docs/architecture.md point down: a layer imports from the layers below it, never from those above.

The two lowest layers are pure. They import neither Ansible nor anything that does I/O, so that deciding what to do can
be tested as plain Python. Imports inside functions and under TYPE_CHECKING count as well.
"""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLLECTION = ("ansible_collections", "serverkit", "core")
MODULE_UTILS = (*COLLECTION, "plugins", "module_utils")

# For each layer, what else of the collection it may import. Its own layer is always allowed.
LAYERS: dict[str, frozenset[str]] = {
    "_errors": frozenset(),
    "_values": frozenset({"_errors"}),
    "_plan": frozenset({"_errors", "_values"}),
    "_edges": frozenset({"_errors", "_values"}),
    "_gateways": frozenset({"_errors", "_values", "_plan", "_edges"}),
    "_runner": frozenset({"_errors", "_values", "_plan", "_edges", "_gateways"}),
    "_module": frozenset({"_errors", "_values", "_plan", "_edges", "_gateways", "_runner"}),
    # Beside `_module`: it is run where there is no Ansible.
    "_program": frozenset({"_errors", "_values", "_plan", "_edges", "_gateways", "_runner"}),
}
# Everything outside module_utils: modules, action plugins, doc fragments.
TOP = "(plugin)"

PURE = frozenset({"_errors", "_values", "_plan"})
MAY_IMPORT_ANSIBLE = frozenset({"_edges", "_module", TOP})

# None: the whole module is harmless. A set: only these names of it are, imported or used as attributes.
PURE_STDLIB: dict[str, frozenset[str] | None] = {
    "__future__": None,
    "abc": None,
    "base64": None,
    "binascii": None,
    "bisect": None,
    "collections": None,
    "collections.abc": None,
    "contextlib": None,
    "copy": None,
    "dataclasses": None,
    "datetime": None,
    "difflib": None,
    "enum": None,
    "fractions": None,
    "functools": None,
    "graphlib": None,
    "hashlib": None,
    "heapq": None,
    "hmac": None,
    "html": None,
    "ipaddress": None,
    "itertools": None,
    "json": None,
    "math": None,
    "numbers": None,
    "operator": None,
    "pathlib": frozenset({"PurePath", "PurePosixPath"}),
    # The functions that only handle text; the rest of the module asks the file system.
    "posixpath": frozenset({"basename", "commonpath", "dirname", "isabs", "join", "normpath", "split", "splitext"}),
    "re": None,
    "shlex": None,
    "string": None,
    "stringprep": None,
    "textwrap": None,
    "types": None,
    "typing": None,
    "unicodedata": None,
    "urllib.parse": None,
    # uuid4() draws random numbers; the class only parses.
    "uuid": frozenset({"UUID"}),
}
IMPURE_BUILTINS = frozenset({"__import__", "breakpoint", "compile", "eval", "exec", "input", "open", "print"})
# datetime is allowed for arithmetic; asking it for the time is reading a clock.
IMPURE_ATTRIBUTES = frozenset({"now", "today", "utcnow"})


def layer_of(path: pathlib.PurePosixPath) -> str | None:
    """The layer of a file, given relative to plugins/. None: a part of module_utils that belongs to no layer."""
    if path.parts[0] != "module_utils":
        return TOP
    name = path.parts[1].removesuffix(".py")
    return name if name in LAYERS else None


def imports_of(tree: ast.AST, path: pathlib.PurePosixPath) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(line, dotted name) of each import. `from a import b` gives a.b, since b may be a module."""
    package = (*COLLECTION, "plugins", *path.parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, tuple(alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                base = package[: len(package) - node.level + 1] + base
            for alias in node.names:
                yield node.lineno, (*base, alias.name)


def attribute_violations(tree: ast.AST, layer: str) -> Iterator[tuple[int, str]]:
    """Uses of the harmful names of a module of which only some are harmless, after `import posixpath`, say."""
    partly = {module: names for module, names in PURE_STDLIB.items() if names is not None}
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            bound.update({alias.asname or alias.name: alias.name for alias in node.names if alias.name in partly})
    harmless: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in bound:
            harmless.add(id(node.value))
            module = bound[node.value.id]
            if node.attr not in partly[module]:
                yield node.lineno, f"{layer} is pure and must not use {module}.{node.attr}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in bound and id(node) not in harmless:
            yield node.lineno, f"{layer} is pure and must not hand on the module {bound[node.id]}"


def _import_violation(layer: str, name: tuple[str, ...]) -> str | None:
    dotted = ".".join(name)
    if name[0] == "ansible_collections":
        return _collection_violation(layer, name, dotted)
    if name[0] == "ansible":
        return None if layer in MAY_IMPORT_ANSIBLE else f"{layer} must not import Ansible: {dotted}"
    if layer not in PURE:
        return None
    # `import a.b` and `from a import b` look alike here: b may be a module of its own, or a name in a.
    for length in range(len(name), 0, -1):
        module = ".".join(name[:length])
        if module in PURE_STDLIB:
            names = PURE_STDLIB[module]
            # A whole module, of which some is harmful: attribute_violations() looks at what is used of it.
            if names is None or length == len(name) or name[length] in names:
                return None
    return f"{layer} is pure and must not import {dotted}"


def _collection_violation(layer: str, name: tuple[str, ...], dotted: str) -> str | None:
    if name[:3] != COLLECTION:
        return f"{layer} must not import from another collection: {dotted}"
    if name[: len(MODULE_UTILS)] != MODULE_UTILS:
        # A module that imports from anywhere else breaks on the target: only module_utils is shipped with it.
        return None if layer == TOP else f"{layer} must not import from above module_utils: {dotted}"
    if len(name) == len(MODULE_UTILS):
        return f"{layer} must name the layer it imports from: {dotted}"
    target = name[len(MODULE_UTILS)]
    if target not in LAYERS:
        return f"{layer} imports {dotted}, which belongs to no layer"
    if layer in (TOP, target) or target in LAYERS[layer]:
        return None
    return f"{layer} must not import {target}: {dotted}"


def violations(source: str, path: pathlib.PurePosixPath) -> list[str]:
    """What is wrong with a file's imports (and, in a pure layer, with its calls). `path` is relative to plugins/."""
    layer = layer_of(path)
    if layer is None:
        return [f"{path}: belongs to no layer; place it in one of {', '.join(LAYERS)}"]
    tree = ast.parse(source)
    found: list[tuple[int, str]] = []
    for line, name in imports_of(tree, path):
        problem = _import_violation(layer, name)
        if problem:
            found.append((line, problem))
    if layer in PURE:
        found.extend(attribute_violations(tree, layer))
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in IMPURE_BUILTINS:
                found.append((node.lineno, f"{layer} is pure and must not use {node.id}()"))
            elif isinstance(node, ast.Attribute) and node.attr in IMPURE_ATTRIBUTES:
                found.append((node.lineno, f"{layer} is pure and must not read the clock: .{node.attr}"))
    return [f"{path}:{line}: {problem}" for line, problem in sorted(found)]


def _python_files() -> list[pathlib.PurePosixPath]:
    plugins = ROOT / "plugins"
    return sorted(pathlib.PurePosixPath(path.relative_to(plugins).as_posix()) for path in plugins.rglob("*.py"))


def test_there_is_something_to_check() -> None:
    assert {layer_of(path) for path in _python_files()} >= {"_errors", "_values", "_plan", "_edges"}


@pytest.mark.parametrize("path", _python_files(), ids=str)
def test_arrows_point_down(path: pathlib.PurePosixPath) -> None:
    source = (ROOT / "plugins" / path).read_text(encoding="utf-8")
    assert violations(source, path) == []


_MU = "ansible_collections.serverkit.core.plugins.module_utils"


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        # Upward and sideways.
        ("module_utils/_values/x.py", f"from {_MU}._plan.app import Plan", "must not import _plan"),
        ("module_utils/_values/x.py", f"from {_MU} import _gateways", "must not import _gateways"),
        ("module_utils/_values/x.py", f"import {_MU}._edges.files", "must not import _edges"),
        ("module_utils/_errors.py", f"from {_MU}._values import names", "must not import _values"),
        ("module_utils/_plan/x.py", f"from {_MU}._gateways.nginx import Nginx", "must not import _gateways"),
        ("module_utils/_plan/x.py", f"from {_MU}._module import run", "must not import _module"),
        ("module_utils/_edges/x.py", f"from {_MU}._plan import env", "must not import _plan"),
        ("module_utils/_gateways/x.py", f"from {_MU}._runner.apply import run", "must not import _runner"),
        ("module_utils/_runner/x.py", f"from {_MU}._module import run", "must not import _module"),
        ("module_utils/_program.py", f"from {_MU}._module import run", "must not import _module"),
        ("module_utils/_program.py", "import ansible", "Ansible"),
        ("module_utils/_runner/x.py", "from ansible_collections.serverkit.core.plugins.action import a", "above"),
        # The same, spelt in ways that a search for the name would miss.
        ("module_utils/_plan/x.py", "from .._gateways import nginx", "must not import _gateways"),
        ("module_utils/_plan/deep/x.py", "from ..._edges.files import write", "must not import _edges"),
        ("module_utils/_plan/x.py", "from .. import _edges", "must not import _edges"),
        ("module_utils/_plan/x.py", "def f():\n    from .._edges import files", ":2: "),
        (
            "module_utils/_plan/x.py",
            f"import typing\nif typing.TYPE_CHECKING:\n    from {_MU}._runner import x",
            "must not import _runner",
        ),
        ("module_utils/_plan/x.py", f"import {_MU}", "must name the layer"),
        ("module_utils/_plan/x.py", f"from {_MU} import *", "belongs to no layer"),
        # Ansible where it must not be.
        ("module_utils/_values/x.py", "from ansible.module_utils.basic import AnsibleModule", "Ansible"),
        ("module_utils/_plan/x.py", "import ansible", "Ansible"),
        ("module_utils/_gateways/x.py", "from ansible.module_utils.common.text import converters", "Ansible"),
        ("module_utils/_runner/x.py", "from ansible.module_utils.basic import AnsibleModule", "Ansible"),
        ("modules/x.py", "from ansible_collections.community.docker.plugins.module_utils import _api", "another"),
        # I/O in the pure layers.
        ("module_utils/_errors.py", "import os", "must not import os"),
        ("module_utils/_values/x.py", "import os.path", "must not import os.path"),
        ("module_utils/_values/x.py", "from os import path", "must not import os.path"),
        ("module_utils/_plan/x.py", "import json, socket", "must not import socket"),
        ("module_utils/_plan/x.py", "import pathlib\npathlib.Path('f')", "must not use pathlib.Path"),
        ("module_utils/_plan/x.py", "import pathlib as p\np.Path.cwd()", "must not use pathlib.Path"),
        ("module_utils/_plan/x.py", "from pathlib import Path", "must not import pathlib.Path"),
        ("module_utils/_plan/x.py", "from pathlib import PurePosixPath, Path", "must not import pathlib.Path"),
        ("module_utils/_plan/x.py", "import posixpath\nposixpath.exists('f')", "must not use posixpath.exists"),
        ("module_utils/_plan/x.py", "import posixpath\ngetattr(posixpath, 'exists')", "must not hand on the module"),
        ("module_utils/_plan/x.py", "from posixpath import *", "must not import posixpath.*"),
        ("module_utils/_plan/x.py", "from posixpath import realpath", "must not import posixpath.realpath"),
        ("module_utils/_plan/x.py", "from uuid import uuid4", "must not import uuid.uuid4"),
        ("module_utils/_plan/x.py", "import urllib.request", "must not import urllib.request"),
        ("module_utils/_plan/x.py", "import secrets", "must not import secrets"),
        ("module_utils/_plan/x.py", "import yaml", "must not import yaml"),
        ("module_utils/_plan/x.py", "import importlib", "must not import importlib"),
        ("module_utils/_plan/x.py", "import importlib.util", "must not import importlib.util"),
        ("module_utils/_plan/x.py", "open('f')", "must not use open()"),
        ("module_utils/_plan/x.py", "reader = open\nreader('f')", "must not use open()"),
        ("module_utils/_values/x.py", "print(1)", "must not use print()"),
        ("module_utils/_values/x.py", "__import__('os')", "must not use __import__()"),
        ("module_utils/_plan/x.py", "import datetime\ndatetime.datetime.now()", "must not read the clock"),
        # New code has to find its place.
        ("module_utils/helpers.py", "", "belongs to no layer"),
        ("module_utils/_misc/x.py", "import json", "belongs to no layer"),
    ],
)
def test_the_check_can_fail(path: str, source: str, complaint: str) -> None:
    found = violations(source, pathlib.PurePosixPath(path))
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("module_utils/_values/x.py", f"from {_MU}._errors import Error\nfrom .names import Name"),
        ("module_utils/_plan/x.py", f"from {_MU}._values.names import Name\nfrom ._diff import diff"),
        ("module_utils/_plan/x.py", "from pathlib import PurePosixPath\nfrom uuid import UUID\nimport urllib.parse"),
        ("module_utils/_values/x.py", "from posixpath import join, normpath"),
        ("module_utils/_values/x.py", "import posixpath\nposixpath.join('a', posixpath.normpath('b'))"),
        ("module_utils/_plan/x.py", "from collections import abc\nfrom collections.abc import Mapping"),
        ("module_utils/_edges/x.py", "import os, subprocess\nfrom ansible.module_utils.basic import AnsibleModule"),
        ("module_utils/_gateways/x.py", f"import sqlite3\nfrom {_MU}._edges.files import x\nfrom .._plan.env import y"),
        ("module_utils/_runner/x.py", f"from {_MU} import _edges, _gateways, _plan, _values, _errors"),
        ("module_utils/_module.py", f"from ansible.module_utils.basic import x\nfrom {_MU}._runner.run import y"),
        ("modules/x.py", f"from ansible.module_utils.basic import x\nfrom {_MU}._module import y"),
        ("action/x.py", f"from ansible.plugins.action import x\nfrom {_MU}._plan.template import y"),
    ],
)
def test_the_check_can_pass(path: str, source: str) -> None:
    assert violations(source, pathlib.PurePosixPath(path)) == []
