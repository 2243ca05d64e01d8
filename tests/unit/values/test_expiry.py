# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ends of private URLs, as text, as a time, and as what nginx makes of them."""

from __future__ import annotations

import re
from datetime import datetime, timezone

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError
from ansible_collections.serverkit.core.plugins.module_utils._plan import vhost_shared
from ansible_collections.serverkit.core.plugins.module_utils._plan.vhost_model import Private
from ansible_collections.serverkit.core.plugins.module_utils._values import expiry
from hypothesis import example, given
from hypothesis import strategies as st

NOW = datetime(2026, 2, 28, 23, 59, 59, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("1m", "2026-03-01T00:00:59Z"),
        ("12h", "2026-03-01T11:59:59Z"),
        ("7d", "2026-03-07T23:59:59Z"),
        ("4w", "2026-03-28T23:59:59Z"),
        ("2026-12-24T18:00:00+01:00", "2026-12-24T17:00:00Z"),
        ("2026-12-24 18:00:00.5-05:30", "2026-12-24T23:30:00Z"),
        ("2026-12-24t18:00:00z", "2026-12-24T18:00:00Z"),
    ],
)
def test_ends(text: str, end: str) -> None:
    assert expiry.checked(text) == text
    assert expiry.until(text, NOW) == end


@pytest.mark.parametrize(
    "text",
    ["", "0d", "7", "d", "7D", "7 d", "-1d", "7y", "2026-12-24", "2026-12-24T18:00:00", "2026-13-01T00:00:00Z", "soon"]
    + ["2026-02-30T00:00:00Z", "1999-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "٧d", "100000d", None, 7, True],
)  # fmt: skip
def test_no_ends(text: object) -> None:
    with pytest.raises(InputError, match="neither a time"):
        expiry.checked(text)


@given(st.integers(0, 9_999_999_999 - 1), st.integers(-3, 3) | st.integers(-(10**9), 10**9))
@example(1_000_000_000, 0)
@example(1_799_999_999, 1)
def test_nginx_knows_the_time_before_the_end(end: int, more: int) -> None:
    end = min(max(end, 946_684_800), 7_258_118_400 - 1)
    until = datetime.fromtimestamp(end, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert expiry.seconds(until) == end
    (block,) = vhost_shared.of_private("a-b", Private("slug", 1, until=until))
    assert block[0] == "map $msec $serverkit_alive_a_b {"
    pattern = re.search(r'"~(.*)" 1;', block[2])
    assert pattern is not None
    now = min(max(end + more, 1_000_000_000), 9_999_999_999)
    assert bool(re.search(pattern[1], f"{now}.123")) == (now < end)
