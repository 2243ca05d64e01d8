# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Host-wide settings: read strictly, and never quoted in an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import settings


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return str(path)


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert settings.load(str(tmp_path / "none")) == settings.Settings()


def test_known_keys_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, "registry_dsn: postgresql://u:p@db/x\nregistry_host: web1\n")
    assert settings.load(path) == settings.Settings("postgresql://u:p@db/x", "web1")


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert settings.load(write(tmp_path, "# nothing yet\n")) == settings.Settings()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("registry_dns: x\n", "unknown keys: registry_dns"),
        ("registry_host: 7\n", "registry_host is not a string"),
        ("- a\n", "not a mapping"),
        ("registry_dsn: 'postgresql://u:hunter2@db\n", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_named_without_quoting_the_file(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(HostError) as refusal:
        settings.load(write(tmp_path, text))
    assert reason in str(refusal.value)
    assert "hunter2" not in str(refusal.value)
