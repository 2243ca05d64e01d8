# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sets the role `backup` has restored."""

from __future__ import annotations

import pathlib
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = pathlib.Path(__file__).resolve().parents[3] / "roles/backup"


def restores(**variables: Any) -> Any:
    """Return the items of serverkit_restore that the role makes of these variables."""
    found: dict[str, Any] = {}
    for name in ("defaults", "vars"):
        found |= yaml.safe_load((ROLE / name / "main.yml").read_text(encoding="utf-8"))
    trusted = {name: trust_as_template(value) if isinstance(value, str) else value for name, value in found.items()}
    return Templar(DataLoader(), {**trusted, **variables}).template(trust_as_template("{{ __backup_restores }}"))


def test_a_set_that_was_brought_is_the_one_that_is_restored() -> None:
    assert restores(serverkit_restore="blog, shop") == [{"app": "blog"}, {"app": "shop"}]
    brought = {"blog": "20260131T031500Z", "shop": "20260130T031500Z"}
    found = restores(serverkit_restore="blog,shop", serverkit_restore_from="web1", __backup_brought=brought)
    # Else it would be the newest here, which this server may have made of an app of its own.
    assert found == [{"app": "blog", "set": "20260131T031500Z"}, {"app": "shop", "set": "20260130T031500Z"}]
    assert restores(serverkit_restore=["blog"], serverkit_restore_discard=True) == [
        {"app": "blog", "state": "discarded"}
    ]
