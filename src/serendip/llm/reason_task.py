"""LLM task: words the sentences that reasons are made of, and nothing that they are about.

Names and numbers of a reason are placeholders, so that a sentence is worded once for all items, an
LLM is told nothing of items and people, and whoever runs it can read all wordings. An answer is
refused unless it has the same placeholders and no other number, no negation of its own, no
capitalised word of its own, and is of the same kind: "popular" is no wording of "similar".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from serendip.data.privacy import holds_address, is_plain
from serendip.data.text import normalise
from serendip.llm.tasks import TaskAnswer

CLAIMS: Mapping[str, str] = {
    "new": r"\bnew(?:ly)?\b|새로",
    "group": r"\bgroup|그룹",
    "popular": r"\bpopular|\bfavou?rites?\b|\bbest ?sell|인기",
    "next": r"\bafter\b|\bnext\b|\bfollow|\bgo(?:es|ing)? on\b|\bwent on\b|다음|이어",
    "search": r"\btyped\b|\bsearch|\bwords?\b|\brelated\b|\bmeant\b|입력|단어|찾|관련",
    "similar": r"\bsimilar|\bresembl|\bremind|\balike\b|비슷|닮",
}
"""Kind of a reason -> pattern of words that claim it, in the form of ``normalise``."""

KINDS: Mapping[str, str] = {
    **{kind: CLAIMS[kind] for kind in ("new", "group", "popular", "next", "search")},
    "people": r"\b(?:people|those|others|who|everyone|fans|viewers|readers|shoppers)\b|\bhistor"
    r"|사람|분들|이력",
    "again": r"\bagain\b|\bbefore\b|전에|다시",
    "past": r"\byour?\b.*(?:chose|choice|pick|histor|last)|선택하신|고르신",
    "similar": CLAIMS["similar"] + r"|\b(?:like|likes|liked|enjoyed|loved) x\b|좋아하[셨신]",
}
"""Kind of a reason -> pattern of words that keep it; of several the first is the reason's kind.
A placeholder is ``x``."""

_NEGATION = (
    r"\b(?:not?|never|nor|neither|none|nothing|without|hardly|unlike|except|instead|hate\w*|dislike\w*"
    r"|cannot|\w+n['’]t)\b|않|없|못|아니|싫|(?<!\w)안\s"
)
_PLACEHOLDER = re.compile(r"\{\d+\}")
_END = re.compile(r"[.!?。]\s+\S")


class WordedReason(TaskAnswer):
    """A sentence in other words; the data are {"sentence"}."""

    prompt = "reason-2"

    sentence: Annotated[str, Field(min_length=8, max_length=160)]

    def find_problem(self, data: Mapping[str, Any]) -> str:
        """See ``TaskAnswer``."""
        return find_problem(self.sentence, data["sentence"])


def mask_reason(text: str, names: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """A reason with placeholders in place of its names and of other numbers; and what these are."""
    found = list[str]()

    def replace(match: re.Match[str]) -> str:
        found.append(match[0])
        return f"{{{len(found)}}}"

    known = sorted(filter(None, names), key=len, reverse=True)
    # A Korean particle may follow a name.
    whole = [rf"(?<!\w){re.escape(name)}(?![0-9A-Za-z])" for name in known]
    pattern = "|".join((*whole, r"\d[\d.,]*\d|\d"))
    return re.sub(pattern, replace, text), tuple(found)


def fill_reason(sentence: str, names: Sequence[str]) -> str:
    """A sentence with names in place of its placeholders."""
    return _PLACEHOLDER.sub(lambda match: names[int(match[0][1:-1]) - 1], sentence)


def find_problem(sentence: str, template: str) -> str:
    """Why a sentence is not a wording of a template; empty if it is one."""
    if holds_address(sentence) or not is_plain(_PLACEHOLDER.sub("x", sentence)):
        return "it holds an address, or signs that are no text"
    if sorted(_PLACEHOLDER.findall(sentence)) != sorted(_PLACEHOLDER.findall(template)):
        return "sentence: it must have each placeholder once"
    said, told = (_PLACEHOLDER.sub("x", text) for text in (sentence, template))
    if _END.search(said):
        return "it is more than one sentence"
    if not _keeps_kind(normalise(said), normalise(told)):
        return "it is of another kind than the reason"
    if re.search(_NEGATION, said, re.IGNORECASE) and not re.search(_NEGATION, told, re.IGNORECASE):
        return "it has a negation"
    if any(sign.isdigit() for sign in said) or re.search(r"\s[^\w\s]*[A-ZÀ-Þ]", said):
        return "it names something that the reason does not name"
    return ""


def _keeps_kind(said: str, told: str) -> bool:
    kind = next((kind for kind, words in KINDS.items() if re.search(words, told)), "")
    if not kind or not re.search(KINDS[kind], said):
        return False
    return all(re.search(words, told) or not re.search(words, said) for words in CLAIMS.values())
