# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Password files, with openssl itself."""

from __future__ import annotations

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges.commands import Completed
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError
from ansible_collections.serverkit.core.plugins.module_utils._gateways.htpasswd import Htpasswd
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import is_ours
from ansible_collections.serverkit.core.tests.unit.fakes import FakeCommands, watched_programs


def users_in(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.splitlines() if not line.startswith("#"))


def test_hashes_are_kept_while_they_fit() -> None:
    openssl = watched_programs()
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
    assert not any("pass" in word and word != "passwd" for argv in openssl.argvs for word in argv)


@pytest.mark.parametrize("existing", ["", "rubbish\n", "bob:plain\n", "bob:$6$x$short\n", "bob:$1$x$abc\n", "bob\n:\n"])
def test_what_is_no_hash_of_ours_is_replaced(existing: str) -> None:
    text = Htpasswd(watched_programs()).text(existing, {"bob": "secret"})
    assert users_in(text)["bob"].startswith("$6$")


def test_an_openssl_that_cannot() -> None:
    with pytest.raises(HostError, match="of the user bob") as caught:
        Htpasswd(FakeCommands(Completed(1, "", "passwd: Unrecognized flag 6"))).text(None, {"bob": "secret"})
    assert "secret" not in str(caught.value)
