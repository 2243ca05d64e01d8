# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Password files, with openssl itself."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.htpasswd import Htpasswd
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import is_ours


class Openssl:
    """Runs it, and keeps what others on the host could have seen."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def find(self, program: str) -> str | None:
        return shutil.which(program)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        cwd: str | None = None,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Completed:
        self.seen += argv
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
        return Completed(done.returncode, done.stdout, done.stderr)


class Broken(Openssl):
    def run(self, *_arguments: object, **_more: object) -> Completed:
        return Completed(1, "", "passwd: Unrecognized flag 6")


def users_in(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.splitlines() if not line.startswith("#"))


def test_hashes_are_kept_while_they_fit() -> None:
    openssl = Openssl()
    htpasswd = Htpasswd(openssl)
    users = {"bob": "pass word", "ann": "ß$'\"\\" + "x" * 200}
    first = htpasswd.text(None, users)
    assert is_ours(first)
    assert list(users_in(first)) == ["ann", "bob"]
    assert htpasswd.text(first, users) == first
    changed = htpasswd.text(first, {**users, "bob": "pass word2"})
    assert users_in(changed)["ann"] == users_in(first)["ann"]
    assert users_in(changed)["bob"] != users_in(first)["bob"]
    # The last characters of a long password count as well.
    assert htpasswd.text(first, {**users, "ann": users["ann"][:-1]}) != first
    assert list(users_in(htpasswd.text(first, {"bob": "pass word"}))) == ["bob"]
    assert not any("pass" in word and word != "passwd" for word in openssl.seen)


@pytest.mark.parametrize("existing", ["", "rubbish\n", "bob:plain\n", "bob:$6$x$short\n", "bob:$1$x$abc\n", "bob\n:\n"])
def test_what_is_no_hash_of_ours_is_replaced(existing: str) -> None:
    text = Htpasswd(Openssl()).text(existing, {"bob": "secret"})
    assert users_in(text)["bob"].startswith("$6$")


def test_an_openssl_that_cannot() -> None:
    with pytest.raises(HostError, match="of the user bob") as caught:
        Htpasswd(Broken()).text(None, {"bob": "secret"})
    assert "secret" not in str(caught.value)
