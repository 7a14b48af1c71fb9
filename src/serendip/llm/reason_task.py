"""LLM task: words the sentences that reasons are made of, and nothing that they are about.

A sentence has placeholders for names and numbers, so that it is worded once for all items, an LLM
is told nothing of items and people, and whoever runs it can read all wordings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from serendip.data.privacy import is_publishable
from serendip.data.text import normalise
from serendip.llm.tasks import TaskAnswer

CLAIMS: Mapping[str, str] = {
    "new": r"\bnew(?:ly)?\b|새로",
    "group": r"\bgroup|그룹",
    "popular": r"\bpopular|\bfavou?rites?\b|\bbest ?sell|인기",
    "next": r"\bafter\b|\bnext\b|\bfollow|\bgo(?:es|ing)? on\b|\bwent on\b|다음|이어",
    "search": r"\btyped\b|\bsearch|\bwords?\b|\bmatch|\brelated\b|\bmeant\b|입력|단어|찾|맞는|관련",
    "similar": r"\bsimilar|\bresembl|\bremind|\balike\b|비슷|닮",
}
"""Kind of a reason -> pattern of words that claim it, in the form of ``normalise``."""

KINDS: Mapping[str, str] = {
    **{kind: CLAIMS[kind] for kind in ("new", "group", "popular", "next", "search")},
    "people": r"\b(?:people|those|others|who|everyone|fans|viewers|readers|shoppers)\b|\bhistor"
    r"|사람|분들|이력",
    "again": r"\bagain\b|\bbefore\b|전에|다시",
    "past": r"\byour?\b.*(?:chose|choice|pick|histor|last)|선택하신|고르신",
    "similar": CLAIMS["similar"] + r"|\b(?:like|likes|liked|enjoyed|loved) x\b|좋아하[셨신]|같은",
}
"""Kind of a reason -> pattern of words that keep it; of several the first is the reason's kind.
A placeholder is ``x``."""

_NEGATION = (
    r"\b(?:not?|never|nor|neither|none|nothing|without|hardly|unlike|except|instead|hate\w*|dislike\w*"
    r"|cannot|\w+n['’]t)\b|않|없|못|아니|싫|(?<!\w)안\s"
)
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
_END = re.compile(r"[.!?。]\s+\S")


class WordedReason(TaskAnswer):
    """A sentence in other words; the data are {"sentence"}, with placeholders."""

    prompt = "reason-3"

    sentence: Annotated[str, Field(min_length=8, max_length=160)]

    def find_problem(self, data: Mapping[str, Any]) -> str:
        """See ``TaskAnswer``: it must have the same placeholders and be of the same kind.

        "Popular" is no wording of "similar". Nor may it name or deny what the data do not.
        """
        texts = data["sentence"], self.sentence
        told, said = (_PLACEHOLDER.sub("x", text) for text in texts)
        known, spelt = map(_PLACEHOLDER.findall, texts)
        # ``{title:을/를}`` is a particle, which may be left out.
        wanted, names = (sorted(one for one in all_ if "/" not in one) for all_ in (known, spelt))
        if not is_publishable(said):
            return "it holds an address, or signs that are no text"
        if names != wanted or not set(spelt) <= set(known):
            return "sentence: it must have each placeholder once"
        if _END.search(said):
            return "it is more than one sentence"
        if not _keeps_kind(normalise(said), normalise(told)):
            return "it is of another kind than the reason"
        if re.search(_NEGATION, said, re.IGNORECASE) and not re.search(_NEGATION, told):
            return "it has a negation"
        if any(sign.isdigit() for sign in said) or re.search(r"\s[^\w\s]*[A-ZÀ-Þ]", said):
            return "it names something that the reason does not name"
        return ""


def _keeps_kind(said: str, told: str) -> bool:
    kind = next((kind for kind, words in KINDS.items() if re.search(words, told)), "")
    if not kind or not re.search(KINDS[kind], said):
        return False
    return all(re.search(words, told) or not re.search(words, said) for words in CLAIMS.values())
