"""Privacy rules: counting distinct people, and detecting personal data in texts.

A query that people typed is shown to others, or used in generated texts, only if several people
typed it, and never if it looks like someone's address or number. Generated text must be plain.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from serendip.data.text import normalise

VISITOR = "visitor-"  # ids that the page generates; one person may have many
_LONGEST_NUMBER = 6
_ADDRESS = re.compile(r"://|www\.|\S@\S|\b[\w-]+\.(com|net|org|io|co|biz|info)\b", re.IGNORECASE)
_ODD_SIGNS = frozenset("<>{}")


def count_people(user_ids: Iterable[str]) -> set[str]:
    """Distinct user ids of people; generated visitor ids do not count."""
    return {user_id for user_id in user_ids if not user_id.startswith(VISITOR)}


def is_private(text: str) -> bool:
    """True if a text looks like someone's mail address or number: never shown to others."""
    plain = unicodedata.normalize("NFKC", text)
    digits = "".join(sign if sign.isdigit() else " " for sign in plain if sign not in "-/() .")
    return "@" in plain or any(len(run) > _LONGEST_NUMBER for run in digits.split())


def private_keys(texts: Iterable[str]) -> set[str]:
    """Normal forms of the private texts: they no longer show the signs that mark them."""
    return {normalise(text) for text in texts if is_private(text)}


def holds_address(text: str) -> bool:
    """True if a text contains a link, a host name or a mail address."""
    return _ADDRESS.search(unicodedata.normalize("NFKC", text)) is not None


def is_plain(text: str) -> bool:
    """True if a text has only printable characters and none of markup."""
    return " ".join(text.split()).isprintable() and not _ODD_SIGNS & set(text)


def is_publishable(text: str) -> bool:
    """Whether a generated text is free of addresses, private numbers and odd characters."""
    return not holds_address(text) and not is_private(text) and is_plain(text)
