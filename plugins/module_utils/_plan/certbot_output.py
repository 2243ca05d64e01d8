# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What certbot's output and log say about a failure: whose fault it is, and when to try again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone

from ansible_collections.serverkit.core.plugins.module_utils._values.certificate import CertbotFailure

# certbot/_internal/auth_handler.py, _generate_failed_chall_msg; since version 5 not only domains can be certified.
_PROBLEM = re.compile(
    r"^ *(?:Domain|Identifier): +(?P<name>\S+)\n *Type: +(?P<type>\S+)\n *Detail: (?P<detail>.*)$", re.MULTILINE
)
# certbot/_internal/log.py, post_arg_parse_except_hook
_UNEXPECTED = re.compile(r"An unexpected error occurred:\n(?P<what>.*?)(?:\nAsk for help|\Z)", re.DOTALL)
# acme/messages.py: the description of urn:ietf:params:acme:error:rateLimited (RFC 8555, section 6.7)
_RATE_LIMITED = re.compile(
    r"too many requests of a given type|acme:error:rateLimited|HTTP 429|too many .* issued", re.IGNORECASE
)
_UNREACHABLE = re.compile(
    r"requests\.exceptions\.\w*(?:Connection|SSL|Timeout|Proxy)\w*|ValueError: Requesting |Max retries exceeded"
    r"|Name or service not known|Temporary failure in name resolution"
)
# Boulder says so in the text: `retry after 2026-01-31 12:00:00 UTC`, with a T and a Z in other versions.
_RETRY_AT = re.compile(r"retry after (\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:Z| UTC)", re.IGNORECASE)
# acme/client.py, _check_response: the answers of the authority, with their headers
_ANSWER = re.compile(
    r"Received response:\nHTTP (?P<status>\d+)\n(?P<headers>(?:[^\n]+\n)*)\n?(?P<body>[^\n]*(?:\n[ }][^\n]*)*)"
)
_RETRY_AFTER = re.compile(r"^Retry-After: *(?P<when>.+?) *$", re.MULTILINE | re.IGNORECASE)
_BUSY = re.compile(r"Another instance of Certbot is already running")

_NOISE = (
    "Encountered exception during recovery",
    "Renewing an existing certificate",
    "Requesting a certificate",
    "Account registered",
    "Saving debug log",
    "Ask for help or search",
    "Some challenges have failed",
    "Please see the logfile",
)
_LONGEST_REASON = 600  # characters
_WORTH_WAITING = timedelta(days=30)

_REMEDIES = {
    "connection": "Make port 80 of {names} reach this host: see its A and AAAA records, and firewalls in between",
    "unauthorized": "Make {names} lead to this host: see its A and AAAA records, and what answers in between",
    "dns": "Mend the DNS records of {names}",
    "caa": "Allow the authority in the CAA record of {names}, or take the record out",
}
_DNS_REMEDY = "See that the DNS plugin or hook changes the zone that the world asks, and give it dns_propagation time"


def is_busy(output: str) -> bool:
    """Whether another certbot was running, which then holds its locks for a while."""
    return _BUSY.search(output) is not None


def failure(output: str, log: str, now: datetime, *, over_dns: bool) -> CertbotFailure:
    """Return what made certbot fail.

    :param output: what it printed.
    :param log: its debug log of that run, which has the answers of the authority.
    :param over_dns: whether challenges were answered in DNS.
    """
    retry_after = _retry_after(output, log, now)
    problems = {found["name"]: found for found in _PROBLEM.finditer(output)}
    if problems:
        return _validation(problems, retry_after, over_dns=over_dns)
    kind, detail = _refusal(log)
    reason = detail or reason_in(output)
    if kind == "rateLimited" or _RATE_LIMITED.search(reason):
        return CertbotFailure("rate_limited", reason, "", retry_after)
    if not detail and _UNREACHABLE.search(reason):
        return CertbotFailure("unreachable", _short(reason), "See that this host reaches the authority")
    remedy = _DNS_REMEDY if over_dns and not detail else "See the log of certbot on the host"
    return CertbotFailure("other", reason, remedy, retry_after)


def _validation(
    problems: Mapping[str, re.Match[str]], retry_after: datetime | None, *, over_dns: bool
) -> CertbotFailure:
    described = {name: f"{found['detail'].strip()} ({found['type']})" for name, found in problems.items()}
    reason = "; ".join(f"{name}: {text}" for name, text in described.items())
    kinds = {found["type"] for found in problems.values()}
    remedies = (_REMEDIES[kind] for kind in _REMEDIES if kind in kinds)
    remedy = next(remedies, "")
    if over_dns and "caa" not in kinds:
        remedy = _DNS_REMEDY
    return CertbotFailure("validation", _cut(reason), remedy.format(names=", ".join(problems)), retry_after, described)


def reason_in(output: str) -> str:
    """Return what certbot says last before it gives up, without its advice."""
    unexpected = _UNEXPECTED.search(output)
    if unexpected:
        return _cut(unexpected["what"])
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith(_NOISE)]
    return _cut(" ".join(dict.fromkeys(lines))) or "certbot failed without a reason"


def _short(reason: str) -> str:
    """Take Python's names out of what its libraries say of a connection."""
    return re.sub(r"^(?:[a-z]+\.)*[A-Z]\w*: ", "", reason)


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 3]}..."


def _refusal(log: str) -> tuple[str, str]:
    """Return kind and detail of the problem document (RFC 8555, section 6.7) that the authority answered last, if any.

    Before version 2.3, certbot under Python 3.11 prints `AttributeError: can't set attribute` in place of them
    (https://github.com/certbot/certbot/issues/9539), and Debian 12 has just that.
    """
    answers = list(_ANSWER.finditer(log))
    if not answers or int(answers[-1]["status"]) < 400:
        return "", ""
    try:
        document = json.loads(answers[-1]["body"])
    except ValueError:
        return ("rateLimited" if answers[-1]["status"] == "429" else ""), ""
    if not isinstance(document, dict):
        return "", ""
    kind = str(document.get("type", "")).rpartition(":")[2]
    return kind, _cut(f"{document.get('detail') or 'no reason given'} ({kind or answers[-1]['status']})")


def _retry_after(output: str, log: str, now: datetime) -> datetime | None:
    """Read when to come back from what was printed, else from the header of the last refusal (RFC 9110, 10.2.3)."""
    times = [_absolute(f"{day} {clock}", ["%Y-%m-%d %H:%M:%S"]) for day, clock in _RETRY_AT.findall(output)]
    for answer in _ANSWER.finditer(log):
        if answer["status"] in ("429", "503"):
            header = _RETRY_AFTER.search(answer["headers"])
            times = [_moment(header["when"], now)] if header else times
    found = _latest(times)
    return min(found, now + _WORTH_WAITING) if found and found > now else None


def _latest(times: Iterable[datetime | None]) -> datetime | None:
    return max((time for time in times if time is not None), default=None)


def _moment(text: str, now: datetime) -> datetime | None:
    if text.isdigit():
        return now + timedelta(seconds=min(int(text), int(_WORTH_WAITING.total_seconds())))
    return _absolute(text, ["%a, %d %b %Y %H:%M:%S GMT"])


def _absolute(text: str, forms: Iterable[str]) -> datetime | None:
    for form in forms:
        try:
            return datetime.strptime(text, form).replace(tzinfo=timezone.utc)
        except ValueError:
            continue
    return None
