# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings that roles write for programs which know nothing of Ansible."""

from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible._internal._datatag._tags import VaultedValue
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLES = pathlib.Path(__file__).resolve().parents[3] / "roles"


@pytest.mark.parametrize(("role", "name"), [("backup", "__backup_settings"), ("base", "__base_settings")])
def test_a_value_from_a_vault_is_written_as_what_it_is(role: str, name: str) -> None:
    tasks = yaml.safe_load((ROLES / role / "tasks/main.yml").read_text(encoding="utf-8"))
    (content,) = (
        task["ansible.builtin.copy"]["content"] for task in tasks if name in str(task.get("ansible.builtin.copy"))
    )
    secret = VaultedValue(ciphertext="$ANSIBLE_VAULT;1.1;AES256\n00").tag('it\'s "ß" 😀')
    written = Templar(DataLoader(), {name: {"password": secret}}).template(trust_as_template(content))
    assert yaml.safe_load(written) == {"password": 'it\'s "ß" 😀'}
