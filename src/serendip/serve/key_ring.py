"""The API keys in the memory of one worker: who a key belongs to, and signatures.

Every half second the keys are read again if anything was committed, so that a revocation counts in
all workers within a second. An expiry counts at its moment.
"""

from __future__ import annotations

import hmac
import logging
import os
import threading
import time
from base64 import urlsafe_b64encode
from typing import Protocol

from serendip.data.api_key import ApiKey, read_key_id
from serendip.data.store.tables.api_keys import KeySnapshot

_log = logging.getLogger(__name__)

EVERY_S = 0.5
_SECRET_BYTES = 32


class KeySource(Protocol):
    """Where the keys are stored."""

    def read(self) -> KeySnapshot:
        """All keys, and the secret of the workspace."""
        ...

    def commit_number(self) -> int | None:
        """A number that is the same as long as nothing is committed; None = not known."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


class KeyRing:
    """The keys of one workspace.

    Args:
        source: where they are stored; None = there are none, ever.
        is_reachable: whether others than this machine reach the service; then it is never open.
    """

    def __init__(self, source: KeySource | None = None, is_reachable: bool = False) -> None:
        self._source, self._is_reachable = source, is_reachable
        self._keys: KeySnapshot = KeySnapshot({}, b"")
        self._secret = os.urandom(_SECRET_BYTES)
        self._commit: int | None = None
        self._is_stale = False
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_open(self) -> bool:
        """Whether requests need no key: there has never been one, and only this machine asks."""
        return not (self._keys.keys or self._is_reachable)

    def get(self, key_id: str) -> ApiKey | None:
        """The key with this id."""
        return self._keys.keys.get(key_id)

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

    def load(self) -> None:
        """Read the keys if anything was committed since they were read.

        Raises:
            StorageError: they cannot be read.
        """
        if self._source is None:
            return
        commit = self._source.commit_number()
        if commit is None or commit != self._commit:
            self._replace(self._source.read())
            self._commit = commit

    def refresh(self) -> None:
        """``load``, but a failure is logged once, and the keys that were read before count."""
        try:
            self.load()
        except Exception:  # noqa: BLE001 - any failure: the keys are read again soon
            if not self._is_stale:
                _log.exception("the keys cannot be read; those that were read before count")
            self._is_stale = True
        else:
            self._is_stale = False

    def watch(self, every_s: float = EVERY_S) -> None:
        """Refresh at an interval, in a background thread, until ``close``."""

        def keep_fresh() -> None:
            while not self._stopped.wait(every_s):
                self.refresh()

        self._thread = threading.Thread(target=keep_fresh, name="key-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the background thread and close the source."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        if self._source is not None:
            self._source.close()

    def _replace(self, keys: KeySnapshot) -> None:
        self._secret = keys.secret or self._secret
        self._keys = keys

    def _signature(self, purpose: str, value: str) -> str:
        message = f"{purpose}\0{value}".encode()
        return urlsafe_b64encode(hmac.digest(self._secret, message, "sha256")).decode().rstrip("=")


def is_accepted(key: ApiKey) -> bool:
    """Whether a key counts now."""
    return key.state(time.time()) == "active"
