"""What may be shown around: who counts as a person, and which texts belong to one.

What people typed is shown to others, or written into texts, only where several of them did, and
never where it looks like an address or a number of somebody. What a machine wrote must be plain.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from serendip.data.text import normalise

VISITOR = "visitor-"
"""How ids begin that the page makes up for whoever brings none; one person may have many."""

_LONGEST_NUMBER = 6
_ADDRESS = re.compile(r"://|www\.|\S@\S|\b[\w-]+\.(com|net|org|io|co|biz|info)\b", re.IGNORECASE)
_ODD_SIGNS = frozenset("<>{}")


def count_people(user_ids: Iterable[str]) -> set[str]:
    """Different people among some user ids; visitors with an id that was made up are nobody."""
    return {one for one in user_ids if not one.startswith(VISITOR)}


def is_private(text: str) -> bool:
    """True where a text looks like an address or a number of somebody: never to be shown around."""
    plain = _compatible(text)
    digits = "".join(sign if sign.isdigit() else " " for sign in plain if sign not in "-/() .")
    return "@" in plain or any(len(run) > _LONGEST_NUMBER for run in digits.split())


def private_keys(texts: Iterable[str]) -> set[str]:
    """Normal forms that stand for a private text, too: a normal form has lost what tells it."""
    return {normalise(text) for text in texts if is_private(text)}


def holds_address(text: str) -> bool:
    """True where a text leads somewhere: a link, a host, a mail address."""
    return _ADDRESS.search(_compatible(text)) is not None


def is_plain(text: str) -> bool:
    """True where a text has only signs that can be seen, and none of markup."""
    return " ".join(text.split()).isprintable() and not _ODD_SIGNS & set(text)


def _compatible(text: str) -> str:
    """With wide and other special forms of signs as the plain ones."""
    return unicodedata.normalize("NFKC", text)


def is_publishable(text: str) -> bool:
    """Whether a text that a machine wrote has neither an address nor odd signs nor a number."""
    return not holds_address(text) and not is_private(text) and is_plain(text)
