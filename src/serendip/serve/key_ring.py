"""The API keys in the memory of one worker: who a key belongs to, sessions, and signatures.

Twice a second (``Follower``) the keys are read again if anything was committed, so that a
revocation, and the end of a session, count in all workers within a second. An expiry counts at its
moment.
"""

from __future__ import annotations

import hmac
import logging
import os
import time
from base64 import urlsafe_b64encode
from contextlib import suppress
from pathlib import Path

from serendip.data.api_key import ApiKey, read_key_id
from serendip.data.store.tables.api_keys import ApiKeys, KeySnapshot

_log = logging.getLogger(__name__)

SESSION_S = 12 * 3600
_SESSION = "session"
_SECRET_BYTES = 32


class KeyRing:
    """The keys of one workspace.

    Args:
        source: where they are stored; None = there are none, ever.
        is_reachable: whether others than this machine reach the service; then it is never open.
        secret_file: whose bytes signatures need beside the secret in the source, so that whoever
            reads the database signs nothing; made if it is missing. None = there is none.
    """

    def __init__(
        self,
        source: ApiKeys | None = None,
        is_reachable: bool = False,
        secret_file: Path | None = None,
    ) -> None:
        self._source, self._is_reachable, self._secret_file = source, is_reachable, secret_file
        self._keys: KeySnapshot = KeySnapshot({}, b"")
        self._secret = os.urandom(_SECRET_BYTES)
        self._beside: bytes | None = None  # the bytes of the file
        self._commit: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether requests need no key: there has never been one, and only this machine asks."""
        return not (self._keys.keys or self._is_reachable)

    @property
    def has_accepted_key(self) -> bool:
        """Whether any key counts now."""
        return any(map(is_accepted, self._keys.keys.values()))

    def find(self, text: str) -> ApiKey | None:
        """The key with this text, accepted or not; None if there is none."""
        key = self._keys.keys.get(read_key_id(text))
        return key if key is not None and key.matches(text) else None

    def sign(self, purpose: str, value: str) -> str:
        """The value with a signature, for a cookie."""
        return f"{value}.{self._signature(purpose, value)}"

    def read_signed(self, purpose: str, signed: str) -> str:
        """The value that was signed for this purpose; empty if the signature is wrong."""
        value, _, signature = signed.rpartition(".")
        expected = self._signature(purpose, value)
        is_right = hmac.compare_digest(signature.encode(), expected.encode())
        return value if is_right else ""

    def begin_session(self, key: ApiKey) -> str:
        """A value that stands for a key until it is refused, its sessions end, or 12 hours."""
        count = self._keys.ended_sessions.get(key.key_id, 0)
        return self.sign(_SESSION, f"{key.key_id}-{count}-{int(time.time()) + SESSION_S}")

    def find_session(self, signed: str) -> ApiKey | None:
        """The key that a value of ``begin_session`` stands for, if it still does."""
        key_id, _, rest = self.read_signed(_SESSION, signed).partition("-")
        key = self._keys.keys.get(key_id)
        if key is None or not is_accepted(key):
            return None
        count, end = map(int, rest.split("-"))
        is_valid = count == self._keys.ended_sessions.get(key_id, 0) and time.time() < end
        return key if is_valid else None

    def end_sessions(self, key: ApiKey) -> None:
        """End all sessions of a key, in this worker at once; waits for the database.

        Raises:
            StorageError: the database cannot be written to.
        """
        if self._source is not None:
            self._source.end_sessions(key.key_id)
            self.load()

    def load(self) -> None:
        """Read the keys if anything was committed since they were read.

        Raises:
            StorageError: they cannot be read.
        """
        if self._source is None:
            return
        commit = self._source.commit_number()
        if commit is None or commit != self._commit:
            self._keys = keys = self._source.read()
            if keys.secret:
                self._beside = self._beside or self._read_secret_file()
                self._secret = keys.secret + self._beside
            self._commit = commit

    def close(self) -> None:
        """Close the source."""
        if self._source is not None:
            self._source.close()

    def _read_secret_file(self) -> bytes:
        """The bytes of the file, which the first of several processes makes."""
        path = self._secret_file
        if path is None:
            return b""
        try:
            if not path.exists():
                part = path.with_name(f"{path.name}.{os.getpid()}")
                part.touch(0o600)
                part.write_bytes(os.urandom(_SECRET_BYTES))
                with suppress(FileExistsError):
                    os.link(part, path)
                part.unlink()
            return path.read_bytes()
        except OSError:  # a disk that nobody writes to: sessions of this process end with it
            _log.warning("%s cannot be made; who signs in does so again after a restart", path.name)
            return os.urandom(_SECRET_BYTES)

    def _signature(self, purpose: str, value: str) -> str:
        message = f"{purpose}\0{value}".encode()
        return urlsafe_b64encode(hmac.digest(self._secret, message, "sha256")).decode().rstrip("=")


def is_accepted(key: ApiKey) -> bool:
    """Whether a key counts now."""
    return key.state(time.time()) == "active"
