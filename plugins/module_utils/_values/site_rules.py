# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is PRIVATE to the collection: it can change or go away in any release.

"""What single values of a domain's options may look like. What passes is written to nginx's files as it is.

Every function takes a value and what to call it, returns the value unchanged, and raises InputError.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.serverkit.core.plugins.module_utils._errors import InputError

LONGEST_TIME = 31_536_000  # seconds: a year
# ngx_conf_read_token() reads a parameter into a buffer of 4096 bytes and refuses longer ones.
LONGEST_TEXT = 4000

_SIZE = re.compile(r"(?:0|[1-9][0-9]{0,8})[kKmMgG]?")
_LARGEST_SIZE = 1 << 50  # bytes; nginx counts in 64 bits
_UNITS = {"k": 10, "m": 20, "g": 30}
# RFC 9110, section 5.6.2, without the characters that no header has and nginx would need quotes for.
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
# nginx itself makes these, and two of them or a wrong one break the connection; or they have an option of their own.
_FORBIDDEN_HEADERS = frozenset(
    {
        "connection", "content-encoding", "content-length", "content-type", "date", "keep-alive", "location", "server",
        "set-cookie", "te", "trailer", "transfer-encoding", "upgrade", "www-authenticate",
    }
)  # fmt: skip
_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_EXTENSION = re.compile(r"[A-Za-z0-9]{1,16}")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)+")
# RFC 3986, section 2: what a URL is made of. `'` and `"` are left out, and `$` begins a variable of nginx.
_URL_PATH = re.compile(r"[A-Za-z0-9._~:/?@!&()*+,;=%-]*")
# RFC 7617, section 2: no colon. A leading `#` would make a comment of the line.
_USER = re.compile(r"[!\"$-9;-~][!-9;-~]{0,254}")
# Directories whose content nobody wants on the web; the account that nginx runs as may well be able to read it.
_PRIVATE_DIRECTORIES = (
    "/etc", "/root", "/proc", "/sys", "/dev", "/boot", "/run", "/var/run", "/var/log", "/var/serverkit",
)  # fmt: skip
# But for what an app keeps there.
_APP_DATA = re.compile(r"/var/serverkit/apps/[a-z0-9-]+/data(?:/.*)?")


def refuse(option: str, value: object, reason: str, remedy: str = "") -> InputError:
    """Return the error that says what is wrong with the value of an option."""
    return InputError(f"use {shown(value)} as {option}", reason, remedy)


def shown(value: object) -> str:
    """Return a value as it can be repeated in a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(str(value))} characters)"


def given(option: str, value: object) -> dict[str, Any]:
    """Return what a mapping of suboptions says, without those that are left out."""
    if not isinstance(value, Mapping):
        raise refuse(option, value, "it is no mapping")
    return {str(name): found for name, found in value.items() if found is not None}


def listed(option: str, value: object) -> Sequence[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise refuse(option, value, "it is no list")
    return value


def whole(option: str, value: object, least: int, most: int) -> int:
    """Return a whole number between two others."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise refuse(option, value, f"it is not a whole number from {least} to {most}")
    return value


def port(option: str, value: object) -> int:
    return whole(option, value, 1, 65535)


def flag(option: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise refuse(option, value, "it is neither true nor false")
    return value


def one_of(option: str, value: object, choices: Sequence[Any]) -> Any:
    # Exactly: True is 1 for Python.
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise refuse(option, value, f"it is none of {', '.join(map(str, choices))}")
    return value


def size(option: str, value: object) -> str:
    """Return a number of bytes as nginx writes it: `0`, `512k`, `64m`, `2g`."""
    if isinstance(value, str) and _SIZE.fullmatch(value):
        digits = value.rstrip("kKmMgG")
        if int(digits) << _UNITS.get(value[len(digits) :].lower(), 0) <= _LARGEST_SIZE:
            return value
    raise refuse(
        option, value, "it is not a size: a whole number, alone or with k, m or g", "Give one, for example 64m"
    )


def text(option: str, value: object, *, without: str = "") -> str:
    """Return a line of printable ASCII characters that nginx can write; it has no way to write a `$`."""
    if not isinstance(value, str) or not value or value != value.strip():
        raise refuse(option, value, "it is no text, or empty, or starts or ends with a space")
    bad = [character for character in value if not " " <= character <= "~" or character in "$" + without]
    if bad:
        raise refuse(option, value, f"it has the character {bad[0]!r}, which cannot be written there")
    if len(value) > LONGEST_TEXT:
        raise refuse(option, value, f"it has more than {LONGEST_TEXT} characters")
    return value


def header_name(option: str, value: object) -> str:
    if not isinstance(value, str) or not _HEADER.fullmatch(value):
        raise refuse(option, value, "a header's name has letters, digits, '-' and '_'")
    if value.lower() in _FORBIDDEN_HEADERS:
        raise refuse(option, value, "nginx and the app make this header together")
    return value


def _is_broadcast(value: str) -> bool:
    # Nobody's address, and what inet_addr() answers for one that is none, so that nginx refuses it.
    return value.partition("/")[0] == "255.255.255.255"


def network(option: str, value: object) -> str:
    """Return an address, or a range of addresses in CIDR form (RFC 4632, RFC 4291 section 2.3)."""
    remedy = "Give one such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32"
    good = isinstance(value, str) and re.fullmatch(r"[0-9A-Fa-f.:]+(?:/[0-9]{1,3})?", value)
    if not isinstance(value, str) or not good or _is_broadcast(value):
        raise refuse(option, value, "it is neither an IP address nor a range of them", remedy)
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError as error:
        raise refuse(option, value, "it is neither an IP address nor a range of them", remedy) from error
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        wider = ipaddress.ip_network(value, strict=False)
        raise refuse(option, value, "the address has bits that the range leaves open", f"Give {wider}") from error
    return value


def networks(option: str, value: object) -> tuple[str, ...]:
    found = tuple(network(option, one) for one in listed(option, value))
    if len({ipaddress.ip_network(one) for one in found}) < len(found):
        raise refuse(option, value, "an address is there twice")
    return found


def address(option: str, value: object) -> str:
    """Return an IP address. nginx does not start when a name in its files does not resolve, so names are refused."""
    try:
        if isinstance(value, str) and re.fullmatch(r"[0-9A-Fa-f.:]+", value) and not _is_broadcast(value):
            ipaddress.ip_address(value)
            return value
    except ValueError:
        pass
    raise refuse(
        option,
        value,
        "it is not an IP address; a name would keep nginx from starting whenever DNS does not answer",
        "Give the address",
    )


def web_path(option: str, value: object) -> str:
    """Return a path below a domain, which stands for itself and all that is below it: `/api`, `/v1/files`."""
    if isinstance(value, str) and _PATH.fullmatch(value) and len(value) <= 200:
        parts = value.split("/")
        if "." not in parts and ".." not in parts:
            if parts[1] == ".well-known":
                raise refuse(option, value, "/.well-known is what certificates are proven with")
            return value
    raise refuse(
        option,
        value,
        "a path has parts of letters, digits, '.', '_', '~' and '-', each after a '/', and none at its end",
        "Give one such as /api",
    )


def directory(option: str, value: object) -> str:
    """Return the absolute path of a directory that may be served to everybody."""
    path = text(option, value, without="\\\"'")
    if not path.startswith("/") or path != posixpath.normpath(path) or path.startswith("//"):
        raise refuse(option, value, "it is no absolute path without '.', '..' and double '/'", "Give such a path")
    private = path == "/" or any(path == base or path.startswith(base + "/") for base in _PRIVATE_DIRECTORIES)
    if private and not _APP_DATA.fullmatch(path):
        raise refuse(option, value, "that would publish files of the system", "Put the site below /srv or /var/www")
    return path


def socket(option: str, value: object) -> str:
    """Return the path of a Unix socket; nginx takes it out of `unix:PATH:`."""
    path = text(option, value, without="\\\"':; ")
    # sockaddr_un has room for 107 bytes and the NUL (unix(7)).
    if not path.startswith("/") or path != posixpath.normpath(path) or path.startswith("//") or len(path) > 107:
        raise refuse(option, value, "it is no absolute path of at most 107 characters")
    return path


def file_name(option: str, value: object) -> str:
    if not isinstance(value, str) or not _FILE.fullmatch(value):
        raise refuse(option, value, "a file's name here has letters, digits, '.', '_' and '-'")
    return value


def file_names(option: str, value: object) -> tuple[str, ...]:
    found = tuple(file_name(option, one) for one in listed(option, value))
    if not found or len(set(found)) < len(found):
        raise refuse(option, value, "it is empty, or has a name twice")
    return found


def extensions(option: str, value: object) -> tuple[str, ...]:
    found = tuple(listed(option, value))
    if not found or not all(isinstance(one, str) and _EXTENSION.fullmatch(one) for one in found):
        raise refuse(option, value, "a file's extension has letters and digits only, and no dot", "Give [css, js]")
    if len({one.lower() for one in found}) < len(found):
        raise refuse(option, value, "an extension is there twice")
    return found


def host(option: str, value: object) -> str:
    """Return a host name in lower case, with or without a port."""
    if isinstance(value, str):
        name, colon, number = value.partition(":")
        good = not colon or (re.fullmatch(r"[1-9][0-9]{0,4}", number) and int(number) <= 65535)
        if _HOST.fullmatch(name) and len(name) <= 253 and good:
            return value
    raise refuse(option, value, "it is no domain in lower case", "Give one such as www.my-blog.com")


def url(option: str, value: object) -> str:
    """Return an http or https URL without user, query and fragment, so that a path can be put behind it."""
    found = text(option, value)
    try:
        parts = urlsplit(found)
        host(option, parts.netloc)
    except (ValueError, InputError) as error:
        raise refuse(option, value, "it is no URL", "Give one such as https://my-blog.com") from error
    if parts.scheme not in ("http", "https") or not found.startswith(f"{parts.scheme}://"):
        raise refuse(option, value, "it is no http:// or https:// URL")
    if not _URL_PATH.fullmatch(parts.path) or "?" in found or "#" in found:
        raise refuse(option, value, "a query or a fragment cannot be had there, and neither can quotes or '$'")
    return found


def user(option: str, value: object) -> str:
    if not isinstance(value, str) or not _USER.fullmatch(value):
        raise refuse(
            option, value, "a user's name has printable ASCII characters but no space and no ':', and no '#' in front"
        )
    return value


def password(option: str, value: object) -> str:
    """Return a password. It is never shown.

    crypt(3) of glibc takes 511 bytes; `openssl passwd` reads 256 and drops the rest.
    """
    if not isinstance(value, str) or not 1 <= len(value.encode("utf-8", "replace")) <= 255:
        raise InputError(f"use the password of {option}", "it is no text, or does not have 1 to 255 bytes")
    if any(ord(one) < 32 or ord(one) == 127 or 0xD800 <= ord(one) <= 0xDFFF for one in value):
        raise InputError(f"use the password of {option}", "it has control characters")
    return value
