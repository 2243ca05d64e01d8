# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible_collections.serverkit.core.plugins.action import serverkit_app as action


def test_the_diff_of_a_host_without_pyyaml_is_shown_as_yaml() -> None:
    result: dict[str, Any] = {
        "invocation": {"module_args": {"name": "blog", "definitions": "{}"}},
        "diff": [
            {
                "before_header": "blog/docker-compose.yml (json)",
                "after_header": "blog/docker-compose.yml (json)",
                "before": "",
                "after": '{"name": "blog"}',
            }
        ],
    }
    action._tidy(result)
    assert result["invocation"]["module_args"] == {"name": "blog"}
    assert result["diff"][0]["after"] == "name: blog\n"
    assert result["diff"][0]["after_header"] == "blog/docker-compose.yml"
    action._tidy({"failed": True})
