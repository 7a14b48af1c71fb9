"""Certificates with which a service and its shards encrypt what they say, and know each other.

Both sides show a certificate of one authority, and neither talks to anyone without (mutual TLS, RFC
8446). The files are checked before they are used, by shaking hands with themselves in memory: what
listens or connects later would only say that it cannot.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from serendip.errors import ConfigError

_ROUNDS = 8
"""Messages of a handshake each way, at most; one takes three."""


@dataclass(frozen=True, slots=True, repr=False)
class ShardTls:
    """What one side of a connection shows and believes, as PEM.

    Args:
        certificate: of this machine, then those between it and the authority's.
        key: of the certificate, not encrypted.
        authority: certificate of the authority that signed those of all machines.
    """

    certificate: bytes
    key: bytes
    authority: bytes

    @classmethod
    def read(cls, certificate: Path, key: Path, authority: Path) -> Self:
        """Read and check three files.

        Raises:
            ConfigError: one is missing, unreadable or no PEM, the key is that of another
                certificate or encrypted, or the authority did not sign the certificate, or it is
                out of date.
        """
        files = {"shard_certificate": certificate, "shard_key": key, "shard_authority": authority}
        found = []
        for name, path in files.items():
            try:
                found.append(path.read_bytes())
            except OSError as error:
                raise ConfigError(
                    f"{path} of [serve] {name} cannot be read: {error.strerror}.",
                    "Put the file there, readable for this process, or correct the setting.",
                ) from None
        _check(certificate, key, authority)
        return cls(*found)

    def server_options(self) -> dict[str, Any]:
        """Arguments of a Flight server."""
        return {
            "tls_certificates": [(self.certificate, self.key)],
            "root_certificates": self.authority,
            "verify_client": True,
        }

    def client_options(self) -> dict[str, Any]:
        """Arguments of a Flight client."""
        return {
            "tls_root_certs": self.authority,
            "cert_chain": self.certificate,
            "private_key": self.key,
        }


def _check(certificate: Path, key: Path, authority: Path) -> None:
    """Shake hands with the files on both sides, without a network.

    Raises:
        ConfigError: they do not fit.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False  # names are checked when a shard is connected to
    server.verify_mode = ssl.CERT_REQUIRED
    for context in (server, client):
        try:
            context.load_cert_chain(certificate, key, password="")
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(
                f"{key} is not the key of {certificate}: {_reason(error)}.",
                "Set shard_certificate and shard_key of [serve] to a certificate and its own key, "
                "both PEM, the key without a password.",
            ) from None
        try:
            context.load_verify_locations(authority)
        except ssl.SSLError as error:
            raise ConfigError(
                f"{authority} has no certificate of an authority: {_reason(error)}.",
                "Set shard_authority of [serve] to a PEM file with it.",
            ) from None
    try:
        _shake_hands(server, client)
    except ssl.SSLError as error:
        raise ConfigError(
            f"{certificate} is refused by the authority in {authority}: {_reason(error)}.",
            "Have it signed by that authority, for servers and clients, and not be out of date.",
        ) from None


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(_ROUNDS):
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
    if ends:
        raise ssl.SSLError("the handshake does not end")


def _reason(error: Exception) -> str:
    """What is wrong, without the place in the source of OpenSSL."""
    told = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
    return str(told).lower().replace("_", " ")
