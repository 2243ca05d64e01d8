# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._values import app


def test_defaults() -> None:
    assert app.parse({"name": "blog", "template": "web"}) == app.AppRequest("blog", "web")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "../x"}, "1 to 63 characters"),
        ({"name": "a b"}, "1 to 63 characters"),
        ({"name": ""}, "1 to 63 characters"),
        ({"name": "a" * 300}, "1 to 63 characters"),
        ({"name": "blog\n"}, "1 to 63 characters"),
        ({"purge": True}, "state: absent"),
        ({"health_timeout": 0}, "1 to 3600"),
        ({"health_timeout": 99999}, "1 to 3600"),
        ({"variables": {"A": "1"}, "secrets": {"A": "1"}}, "in variables and in secrets"),
        ({"variables": {"A": None}}, "nothing"),
        ({"variables": {"A": [1]}}, "a list"),
        ({"variables": {"1A": "x"}}, "does not start with a digit"),
        ({"template": "", "variables": {"A": "1"}}, "Name the template"),
    ],
)
def test_bad_input_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        app.parse({"name": "blog", "template": "web", **options})


@pytest.mark.parametrize("value", ["../x", "", "a/b", ".x", "a\n", "x" * 101])
def test_a_template_id_that_is_no_file_name_is_refused(value: str) -> None:
    with pytest.raises(InputError):
        app.template_id(value)
