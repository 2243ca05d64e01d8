# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What certbot prints when it fails, as it printed it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._plan.certbot_output import failure, is_busy
from ansible_collections.serverkit.core.plugins.module_utils._values.certificate import CertbotFailure
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=timezone.utc)

CHALLENGE = """Renewing an existing certificate for a.example.com and bad.example.com

Certbot failed to authenticate some domains (authenticator: webroot). The Certificate Authority reported these problems:
  Domain: bad.example.com
  Type:   connection
  Detail: Get "http://bad.example.com/.well-known/acme-challenge/RQ": dial tcp 127.0.0.9:80: connect: connection refused

  Domain: caa.example.com
  Type:   caa
  Detail: CAA record for caa.example.com prevents issuance

Hint: The Certificate Authority failed to download the temporary challenge files created by Certbot.

Saving debug log to /var/log/letsencrypt/letsencrypt.log
Some challenges have failed.
Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile ... for more details.
"""

DOWN = """Saving debug log to /var/log/letsencrypt/letsencrypt.log
An unexpected error occurred:
ValueError: Requesting localhost/dir: Connection refused
Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile ... for more details.
"""

LIMITED = """Saving debug log to /var/log/letsencrypt/letsencrypt.log
An unexpected error occurred:
There were too many requests of a given type :: Error creating new order :: too many certificates (5) already issued \
for this exact set of domains in the last 168 hours: example.com, retry after 2026-06-16 09:30:00 UTC: see https://le
Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile ... for more details.
"""

HIDDEN = """An unexpected error occurred:
AttributeError: can't set attribute
Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile ... for more details.
"""

LOG = """2026-06-15 12:00:00,154:DEBUG:acme.client:Received response:
HTTP 200
Content-Type: application/json

{
  "newOrder": "https://ca/order"
}
2026-06-15 12:00:00,154:DEBUG:acme.client:Received response:
HTTP 429
Content-Type: application/problem+json
Retry-After: 7200

{
  "type": "urn:ietf:params:acme:error:rateLimited",
  "detail": "too many new orders",
  "status": 429
}
2026-06-15 12:00:00,155:DEBUG:certbot._internal.log:Exiting abnormally:
"""


def told(output: str, log: str = "", *, over_dns: bool = False) -> CertbotFailure:
    return failure(output, log, NOW, over_dns=over_dns)


@pytest.mark.parametrize("word", ["Domain", "Identifier"])
def test_each_name_that_could_not_be_proven(word: str) -> None:
    found = told(CHALLENGE.replace("Domain:", f"{word}:"))
    assert found.kind == "validation"
    assert set(found.problems) == {"bad.example.com", "caa.example.com"}
    assert "connection refused (connection)" in found.problems["bad.example.com"]
    assert "Make port 80 of bad.example.com, caa.example.com reach this host" in found.remedy


def test_over_dns_the_zone_is_to_blame() -> None:
    output = CHALLENGE.replace("connection\n", "unauthorized\n").replace("Type:   caa", "Type:   unauthorized")
    assert "changes the zone" in told(output, over_dns=True).remedy
    assert "A and AAAA" in told(output).remedy


def test_a_plugin_that_fails() -> None:
    found = told("The plugin is unhappy", over_dns=True)
    assert found.kind == "other"
    assert "dns_propagation" in found.remedy
    assert "{" not in found.remedy


def test_an_authority_that_is_down() -> None:
    found = told(DOWN)
    assert (found.kind, found.reason) == ("unreachable", "Requesting localhost/dir: Connection refused")


def test_a_limit_with_the_time_in_its_text() -> None:
    found = told(LIMITED)
    assert found.kind == "rate_limited"
    assert found.retry_after == datetime(2026, 6, 16, 9, 30, tzinfo=timezone.utc)
    assert "too many certificates (5)" in found.reason


def test_a_limit_that_only_the_log_tells_of() -> None:
    found = told(HIDDEN, LOG)
    assert found.kind == "rate_limited"
    assert found.reason == "too many new orders (rateLimited)"
    assert found.retry_after == NOW + timedelta(hours=2)


def test_retry_after_as_a_date_and_of_the_past() -> None:
    dated = LOG.replace("7200", "Mon, 15 Jun 2026 15:00:00 GMT")
    assert told(HIDDEN, dated).retry_after == NOW + timedelta(hours=3)
    assert told(HIDDEN, LOG.replace("7200", "Mon, 15 Jun 2026 11:00:00 GMT")).retry_after is None
    assert told(HIDDEN, LOG.replace("7200", "soon")).retry_after is None
    assert told(HIDDEN, LOG.replace("7200", "9" * 30)).retry_after == NOW + timedelta(days=30)


def test_a_refusal_without_a_problem_document() -> None:
    body = LOG[: LOG.rindex("{")] + "<html>slow down</html>\n"
    assert told(HIDDEN, body).kind == "rate_limited"
    assert told(HIDDEN, body.replace("429", "500")).reason == "AttributeError: can't set attribute"


def test_the_last_answer_counts() -> None:
    later = LOG + "x:Received response:\nHTTP 200\nContent-Type: application/json\n\n{}\n"
    assert told(DOWN, later).kind == "unreachable"


def test_noise_is_left_out() -> None:
    output = "Saving debug log to /x\nRequesting a certificate for a.com\nThe plugin is unhappy\nAsk for help or search"
    assert told(output).reason == "The plugin is unhappy"
    assert told("").reason == "certbot failed without a reason"


def test_another_certbot() -> None:
    assert is_busy("Another instance of Certbot is already running.")
    assert not is_busy(DOWN)


@given(st.text(), st.text(), st.booleans())
def test_whatever_is_printed_there_is_a_reason(output: str, log: str, over_dns: bool) -> None:
    found = failure(output, f"Received response:\nHTTP 400\n\n{log}", NOW, over_dns=over_dns)
    assert found.reason
    assert len(found.reason) <= 600
    assert "\n" not in found.reason
