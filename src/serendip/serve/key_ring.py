"""The API keys in the memory of one worker: who a key belongs to, and signatures.

The stored hash of a key is slow on purpose. It is computed for the first request of a key in each
worker; from then on a digest of the text, keyed with the secret of the workspace, finds the key.
Every half second the keys are read again if anything was committed, so that a revocation counts in
all workers within a second. An expiry counts at its moment.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import threading
import time
from base64 import urlsafe_b64encode
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from serendip.data.api_key import ApiKey, read_key_id
from serendip.data.store.tables.api_keys import KeySnapshot
from serendip.errors import RateLimitError

_log = logging.getLogger(__name__)

EVERY_S = 0.5
_MAX_WAITING = 8
"""Texts that wait for the slow comparison with a stored hash; further ones are refused."""

_MAX_WAITING_OF_SENDER = 4
"""Of one sender, who thus leaves room for others."""

_MAX_REFUSED = 1024
"""Wrong texts that are remembered, so that each is compared once."""

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
        self._known: dict[bytes, str] = {}
        self._refused: set[bytes] = set()
        self._checker = ThreadPoolExecutor(1, thread_name_prefix="key-check")
        self._comparing: dict[bytes, asyncio.Task[str]] = {}
        self._waiting: Counter[str] = Counter()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_open(self) -> bool:
        """Whether requests need no key: there has never been one, and only this machine asks."""
        return not (self._keys.keys or self._is_reachable)

    def get(self, key_id: str) -> ApiKey | None:
        """The key with this id."""
        return self._keys.keys.get(key_id)

    def is_new(self, text: str) -> bool:
        """Whether ``find`` would begin the slow comparison of a text."""
        return self._new_key(text, self._digest(text)) is not None

    async def find(self, text: str, sender: str = "") -> ApiKey | None:
        """The key with this text, accepted or not; None if there is none.

        Requests that show the same text at once wait for one comparison.

        Args:
            text: that was shown.
            sender: whose texts wait together; empty = not known.

        Raises:
            RateLimitError: too many texts that were not sent before wait for their comparison.
        """
        digest = self._digest(text)
        key = self._new_key(text, digest)
        if key is not None:
            self._begin_comparison(key, text, digest, sender)
        comparison = self._comparing.get(digest)
        if comparison is not None:
            # One request that is given up ends it for none of the others.
            key_id = await asyncio.shield(comparison)
        else:
            key_id = self._known.get(digest, "")
        return self._keys.keys.get(key_id)

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
        self._checker.shutdown(wait=False, cancel_futures=True)
        if self._source is not None:
            self._source.close()

    def _replace(self, keys: KeySnapshot) -> None:
        if keys.secret and keys.secret != self._secret:
            self._secret, self._known, self._refused = keys.secret, {}, set()
        self._keys = keys

    def _new_key(self, text: str, digest: bytes) -> ApiKey | None:
        """The key whose stored hash a text is to be compared with; None if that is not needed."""
        is_decided = digest in self._known or digest in self._refused
        if is_decided or digest in self._comparing:
            return None
        return self._keys.keys.get(read_key_id(text))

    def _begin_comparison(self, key: ApiKey, text: str, digest: bytes, sender: str) -> None:
        """Compare a text with the stored hash of a key, in a task of its own.

        Raises:
            RateLimitError: too many texts wait, of all senders or of this one.
        """
        is_full = len(self._comparing) >= _MAX_WAITING
        if is_full or self._waiting[sender] >= _MAX_WAITING_OF_SENDER:
            raise RateLimitError("too many keys are being checked.", "Try again in a moment.", 1)
        self._waiting[sender] += 1
        comparison = asyncio.create_task(self._compare(key, text, digest))
        self._comparing[digest] = comparison

        def forget(_: asyncio.Task[str]) -> None:
            del self._comparing[digest]
            self._waiting[sender] -= 1
            if not self._waiting[sender]:
                del self._waiting[sender]

        comparison.add_done_callback(forget)

    async def _compare(self, key: ApiKey, text: str, digest: bytes) -> str:
        """The id of a key whose stored hash fits a text; empty if it does not."""
        loop = asyncio.get_running_loop()
        if await loop.run_in_executor(self._checker, key.matches, text):
            self._known[digest] = key.key_id
            return key.key_id
        if len(self._refused) >= _MAX_REFUSED:
            self._refused.clear()
        self._refused.add(digest)
        return ""

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self._secret, b"key\0" + text.encode("utf-8", "replace"), "sha256")

    def _signature(self, purpose: str, value: str) -> str:
        message = f"{purpose}\0{value}".encode()
        return urlsafe_b64encode(hmac.digest(self._secret, message, "sha256")).decode().rstrip("=")


def is_accepted(key: ApiKey) -> bool:
    """Whether a key counts now."""
    return key.state(time.time()) == "active"
