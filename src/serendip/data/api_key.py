"""API keys: what a key may do and until when, its text, and the hash that is stored of it.

The text is ``serendip_<id>_<secret>`` with 256 random bits. Only its SHA-256 is stored, so whoever
reads the database cannot call the service: no number of guesses finds 256 random bits, so the hash
need not be slow. Nor can they sign cookies: that needs a file (``serve.access``). The id is
no secret: lists and logs show it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from serendip.errors import DataError

READ: Final = "read"  # answers: search, recommendations, suggestions, explanations, items
WRITE: Final = "write"  # events, items and attributes of users are stored, items deleted
READ_USERS: Final = "read:users"  # personal data: lists of users, their histories and attributes
ADMIN: Final = "admin"  # operation: metrics and the quality report
SCOPES: Final = (READ, WRITE, READ_USERS, ADMIN)

_PREFIX = "serendip"
_ID_BYTES, _SECRET_BYTES = 6, 32
_MAX_TEXT = 128
MAX_NAME_CHARS = 100

KeyState = Literal["active", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret.

    Args:
        scopes: what it allows; none of them contains another.
        created: Unix seconds.
        expires: Unix seconds from which it is refused; None = never.
        revoked: Unix seconds at which it was; from then on it is refused, whatever a clock says.
            None = it was not.
    """

    key_id: str
    name: str
    scopes: frozenset[str]
    hash: str = field(repr=False)
    created: float
    expires: float | None = None
    revoked: float | None = None

    def state(self, now: float) -> KeyState:
        """Whether it is accepted at a time in Unix seconds, and if not, why."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "active"

    def matches(self, text: str) -> bool:
        """Whether a text is that of this key."""
        return hmac.compare_digest(self.hash, _hash(text))


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key and its text, which cannot be read again."""

    key: ApiKey
    text: str = field(repr=False)


def issue_key(
    name: str,
    scopes: Iterable[str],
    lifetime_s: float | None = None,
    now: float | None = None,
) -> IssuedKey:
    """Draw a new key.

    It expires after ``lifetime_s`` seconds; None = never.

    Raises:
        DataError: the name or a scope is wrong.
    """
    chosen = frozenset(scopes)
    if unknown := sorted(chosen - set(SCOPES)):
        raise DataError(f"scope {unknown[0]!r} is unknown.", f"Use one of: {', '.join(SCOPES)}.")
    if not chosen:
        raise DataError("a key without a scope allows nothing.", f"Use: {', '.join(SCOPES)}.")
    if len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise DataError(f"name {name[:40]!r} is not a line of at most {MAX_NAME_CHARS} characters.")
    created = time.time() if now is None else now
    key_id = secrets.token_hex(_ID_BYTES)
    text = f"{_PREFIX}_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    expires = None if lifetime_s is None else created + lifetime_s
    return IssuedKey(ApiKey(key_id, name, chosen, _hash(text), created, expires), text)


def read_key_id(text: str) -> str:
    """The id in the text of a key; empty if it is not the text of any key."""
    prefix, _, rest = text.partition("_")
    key_id, _, secret = rest.partition("_")
    is_text = prefix == _PREFIX and bool(secret) and len(text) <= _MAX_TEXT
    return key_id if is_text else ""


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
