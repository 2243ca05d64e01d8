# Copyright: serverkit.core contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""X.509 certificates, made here and elsewhere; openssl is the judge of ours."""

from __future__ import annotations

import pathlib
import subprocess
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from ansible_collections.serverkit.core.plugins.module_utils._edges import files
from ansible_collections.serverkit.core.plugins.module_utils._errors import HostError, InputError
from ansible_collections.serverkit.core.plugins.module_utils._gateways import certificates
from ansible_collections.serverkit.core.plugins.module_utils._gateways.certificate_files import CertificateFiles
from ansible_collections.serverkit.core.plugins.module_utils._gateways.certificates import UnusableError
from ansible_collections.serverkit.core.plugins.module_utils._values.nginx import Layout

NOW = datetime.now(timezone.utc).replace(microsecond=0)
NAMES = ("example.com", "www.example.com")
ROOT = certificates.make_root("web1", NOW)


def leaf(*names: str, now: datetime = NOW) -> tuple[str, str]:
    return certificates.make_leaf(*ROOT, names or NAMES, now)


def test_ours_are_what_openssl_takes_for_a_server(tmp_path: pathlib.Path) -> None:
    text, key = leaf("*.example.com", "example.com")
    (tmp_path / "root.pem").write_text(ROOT[0])
    (tmp_path / "leaf.pem").write_text(text)
    argv = ["openssl", "verify", "-x509_strict", "-CAfile", "root.pem", "-purpose", "sslserver", "leaf.pem"]
    for name in ("any.example.com", "example.com"):
        done = subprocess.run(
            [*argv[:-1], "-verify_hostname", name, argv[-1]], cwd=tmp_path, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [*argv[:-1], "-verify_hostname", "x.y.example.com", argv[-1]], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode != 0
    found = certificates.read(text, key)
    assert found.names == ("*.example.com", "example.com")
    assert found.issuer == "serverkit internal CA of web1"
    assert found.not_after - NOW == certificates.LEAF_LIFETIME
    certificates.check_chain(text)


def test_a_leaf_does_not_outlive_its_root() -> None:
    late = NOW + certificates.ROOT_LIFETIME - timedelta(days=30)
    assert certificates.read(*leaf(now=late)).not_after == NOW + certificates.ROOT_LIFETIME


def test_names_of_any_length() -> None:
    name = ".".join(["a" * 60] * 4)
    assert certificates.read(*leaf(name)).names == (name,)
    assert certificates.make_root("h" * 200, NOW)


@pytest.mark.parametrize("kind", ["rsa:2048", "ec", "ed25519"])
def test_those_of_others(kind: str, tmp_path: pathlib.Path) -> None:
    new = ["-newkey", kind, *(["-pkeyopt", "ec_paramgen_curve:secp384r1"] if kind == "ec" else []), "-nodes", "-x509"]
    for name, more in (("root", []), ("leaf", ["-CA", "root.pem", "-CAkey", "root.key"])):
        names = ["-subj", f"/CN={name}.example.com", "-addext", f"subjectAltName=DNS:{name.upper()}.example.com"]
        argv = ["openssl", "req", *new, *names, *more, "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run(argv, check=True, cwd=tmp_path, capture_output=True)
    text, key = ((tmp_path / f"leaf.{end}").read_text() for end in ("pem", "key"))
    root = (tmp_path / "root.pem").read_text()
    found = certificates.check_provided(["leaf.example.com"], text + root, key, datetime.now(timezone.utc))
    assert found.names == ("leaf.example.com",)
    certificates.check_chain(text + root)
    with pytest.raises(UnusableError, match="did not issue it"):
        certificates.check_chain(root + text)
    with pytest.raises(UnusableError, match="did not issue it"):
        certificates.check_chain(text + ROOT[0])


@pytest.mark.parametrize(
    ("certificate", "key", "complaint"),
    [
        (leaf()[0], leaf()[1], "the private key is not the certificate's"),
        ("", leaf()[1], "there is no certificate in it"),
        (leaf()[0].replace("MII", "MIx"), leaf()[1], "the certificate is damaged"),
        (leaf()[0], "nonsense", "the private key is damaged"),
        (leaf()[0] + ROOT[0] + leaf()[0], "", "the private key is damaged"),
    ],
)
def test_what_is_of_no_use(certificate: str, key: str, complaint: str) -> None:
    with pytest.raises(InputError) as refused:
        certificates.check_provided(NAMES, certificate, key, NOW)
    assert complaint in str(refused.value)


def test_dates_and_names_of_what_is_provided() -> None:
    text, key = leaf()
    assert certificates.check_provided(NAMES, text, key, NOW).names == NAMES
    with pytest.raises(InputError, match="it expired on"):
        certificates.check_provided(NAMES, text, key, NOW + timedelta(days=900))
    with pytest.raises(InputError, match="not valid before"):
        certificates.check_provided(NAMES, text, key, NOW - timedelta(days=1))
    with pytest.raises(InputError, match=r"not for \*\.example\.com, other\.org"):
        certificates.check_provided([*NAMES, "*.example.com", "other.org"], text, key, NOW)


def test_a_certificate_without_names(tmp_path: pathlib.Path) -> None:
    argv = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-x509"]
    argv += ["-subj", "/CN=example.com", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(argv, check=True, cwd=tmp_path, capture_output=True)
    text, key = ((tmp_path / f"{name}.pem").read_text() for name in ("cert", "key"))
    with pytest.raises(InputError, match="it is for no DNS name"):
        certificates.check_provided(["example.com"], text, key, datetime.now(timezone.utc))


@pytest.fixture
def store(tmp_path: pathlib.Path) -> CertificateFiles:
    return CertificateFiles(Layout(ssl=str(tmp_path / "ssl")))


def test_versions(store: CertificateFiles, tmp_path: pathlib.Path) -> None:
    assert store.latest("blog/example.com") is None
    assert store.keys_of("blog") == ()
    for number in (1, 2, 10):
        store.write("blog/example.com", number, *leaf())
    latest = store.latest("blog/example.com")
    assert latest is not None
    assert (latest.number, latest.problem) == (10, "")
    assert latest.certificate is not None
    assert latest.certificate.names == NAMES
    assert pathlib.Path(latest.key_path).stat().st_mode & 0o777 == 0o600
    assert store.files_of("blog/example.com", 10, NAMES).certificate == latest.certificate_path
    assert store.keys_of("blog") == ("blog/example.com",)

    (tmp_path / "ssl/blog/example.com/.new-killed").mkdir()
    store.remove_older("blog/example.com", 10)
    assert [path.name for path in (tmp_path / "ssl/blog/example.com").iterdir()] == ["10"]
    store.remove_version("blog/example.com", 10)
    assert not (tmp_path / "ssl" / "blog").exists()


def test_a_version_is_there_whole_or_not_at_all(store: CertificateFiles, tmp_path: pathlib.Path) -> None:
    store.write("blog/example.com", 1, *leaf())
    with pytest.raises(HostError):
        store.write("blog/example.com", 1, *leaf())
    assert [path.name for path in (tmp_path / "ssl/blog/example.com").iterdir()] == ["1"]
    (tmp_path / "ssl/blog/example.com/1/privkey.pem").unlink()
    latest = store.latest("blog/example.com")
    assert latest is not None
    assert latest.certificate is None
    assert "private key" in latest.problem


def test_the_authority_of_the_host(store: CertificateFiles, tmp_path: pathlib.Path) -> None:
    with pytest.raises(HostError, match="no usable authority"):
        store.issue(NAMES, NOW)
    store.make_root(NOW)
    first = store.root()
    assert first is not None
    store.make_root(NOW)
    assert store.root() == first
    assert pathlib.Path(store.root_path()).stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "ssl/serverkit/internal-ca.key").stat().st_mode & 0o777 == 0o600
    assert "PRIVATE KEY" not in pathlib.Path(store.root_path()).read_text()

    store.write("blog/internal", 1, *store.issue(NAMES, NOW))
    version = store.latest("blog/internal")
    assert version is not None
    assert store.is_from_root(version)
    store.make_root(NOW + timedelta(days=3600))
    assert store.root() != first
    assert not store.is_from_root(version)


def test_an_authority_whose_making_was_interrupted_is_made_anew(
    store: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = files.write, list[str]()

    def killed(path: str, *rest: Any) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *rest)

    monkeypatch.setattr(files, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        store.make_root(NOW)
    monkeypatch.undo()
    assert store.root() is None
    store.make_root(NOW)
    root = pathlib.Path(store.root_path()).read_text()
    assert store.issue(("a.example.com",), NOW)[0].endswith(root)
