"""Certificates of services and shards: who is answered, and which files are refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from serendip.engine.artefacts.shards import read_tls
from serendip.engine.config.serve import ServeConfig
from serendip.engine.workspace import Workspace
from serendip.errors import ConfigError, StorageError
from serendip.models.index.remote_shard import ShardConnection
from serendip.models.index.shard_tls import ShardTls
from serendip.serve.workers.shard_server import ShardServer

NOW = datetime.now(UTC)
Key = ec.EllipticCurvePrivateKey


class Authority:
    """Signs certificates of machines into files of a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        self._write("authority", self._sign(self._key, self._name, basic, NOW + timedelta(1)))

    def issue(self, name: str, address: str = "127.0.0.1", days: float = 1) -> ShardTls:
        """Certificate and key for a machine with an address, checked."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._write(name, self._sign(key, subject, names, NOW + timedelta(days)))
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (self._folder / f"{name}.key").write_bytes(secret)
        return ShardTls.read(*self.files(name))

    def files(self, name: str) -> tuple[Path, Path, Path]:
        """Certificate, key and authority."""
        folder = self._folder
        return folder / f"{name}.crt", folder / f"{name}.key", folder / "authority.crt"

    def _sign(
        self, key: Key, subject: x509.Name, extension: x509.ExtensionType, until: datetime
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(NOW - timedelta(2)).not_valid_after(until)
        ours = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        for one, is_critical in ((extension, True), (own, False), (ours, False)):
            builder = builder.add_extension(one, is_critical)
        return builder.sign(self._key, hashes.SHA256())

    def _write(self, name: str, certificate: x509.Certificate) -> None:
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        (self._folder / f"{name}.crt").write_bytes(pem)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "theirs")


def serve(folder: Path, tls: ShardTls | None) -> ShardServer:
    (folder / "serendip.toml").write_text("")
    return ShardServer(Workspace.open(folder), 0, 1, "127.0.0.1", 0, "", tls)


@pytest.fixture
def shard(ours: Authority, tmp_path: Path) -> Iterator[ShardServer]:
    with closing(serve(tmp_path, ours.issue("shard"))) as server:
        yield server


def ask(server: ShardServer, tls: ShardTls | None) -> int:
    """Parts that a shard says there are."""
    return ShardConnection(f"127.0.0.1:{server.port}", tls).state(5.0).parts


def test_a_shard_answers_whoever_has_a_certificate_of_the_authority(
    ours: Authority, shard: ShardServer
) -> None:
    assert ask(shard, ours.issue("service")) == 1


def test_a_shard_answers_nobody_else(
    ours: Authority, theirs: Authority, shard: ShardServer
) -> None:
    with pytest.raises(StorageError, match="does not answer"):
        ask(shard, None)
    stranger = theirs.issue("stranger")
    knows_us = ShardTls(stranger.certificate, stranger.key, ours.issue("service").authority)
    with pytest.raises(StorageError, match="does not answer"):
        ask(shard, knows_us)


def test_a_service_asks_no_shard_of_another_authority_or_name(
    ours: Authority, theirs: Authority, tmp_path: Path
) -> None:
    service = ours.issue("service")
    for tls in (theirs.issue("shard"), ours.issue("elsewhere", "127.0.0.9"), None):
        with closing(serve(tmp_path, tls)) as server, pytest.raises(StorageError):
            ask(server, service)


def test_files_that_do_not_fit_are_refused_by_name(
    ours: Authority, theirs: Authority, tmp_path: Path
) -> None:
    ours.issue("shard")
    certificate, key, authority = ours.files("shard")
    theirs.issue("shard")
    with pytest.raises(ConfigError, match="shard_key cannot be read: No such file"):
        ShardTls.read(certificate, tmp_path / "none.key", authority)
    with pytest.raises(ConfigError, match=r"shard\.key is not the key of .*shard\.crt"):
        ShardTls.read(certificate, theirs.files("shard")[1], authority)
    with pytest.raises(ConfigError, match=r"is refused by the authority in .*authority\.crt"):
        ShardTls.read(certificate, key, theirs.files("shard")[2])
    with pytest.raises(ConfigError, match="expired"):
        ours.issue("old", days=-1)
    (tmp_path / "text").write_text("no certificate")
    with pytest.raises(ConfigError, match="has no certificate of an authority"):
        ShardTls.read(certificate, key, tmp_path / "text")
    with pytest.raises(ConfigError, match="is not the key of"):
        ShardTls.read(tmp_path / "text", key, authority)


def test_the_settings_name_all_three_files_or_none(ours: Authority, tmp_path: Path) -> None:
    ours.issue("shard")
    for name, path in zip(("a.crt", "a.key", "ca.crt"), ours.files("shard"), strict=True):
        shutil.copy(path, tmp_path / name)
    settings = tmp_path / "serendip.toml"
    settings.write_text("")
    assert read_tls(Workspace.open(tmp_path)) is None
    settings.write_text(
        '[serve]\nshard_certificate = "a.crt"\nshard_key = "a.key"\nshard_authority = "ca.crt"\n'
    )
    assert read_tls(Workspace.open(tmp_path)) == ShardTls.read(*ours.files("shard"))
    with pytest.raises(ValidationError, match="shard_authority, or none"):
        ServeConfig(shard_certificate="a.crt", shard_key="a.key")
