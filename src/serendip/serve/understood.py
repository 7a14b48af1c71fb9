"""How the words of a search were read, in plain words for the page, with the way back."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from serendip.engine.answer import Answer
from serendip.serve.page_query import PageQuery


@dataclass(frozen=True, slots=True)
class Told:
    """One sentence: words, a linked text, words; without a link it is the first of them alone."""

    before: str
    text: str = ""
    link: str = ""
    after: str = ""


def told_of(answer: Answer, asked: PageQuery) -> list[Told]:
    """What was searched instead, what may have been meant, and what nothing has."""
    found = answer.understood
    if found is None:
        return []
    told = []
    if found.is_corrected:
        literally = _link(asked.q, asked.user, literal="1")
        before = f"This is what “{found.searched}” finds. Search only for “"
        told.append(Told(before, asked.q, literally, "”?"))
    if found.did_you_mean:
        link = _link(found.did_you_mean, asked.user)
        told.append(Told("Did you mean “", found.did_you_mean, link, "”?"))
    if found.by_meaning:
        told.append(Told("Nothing here has these words. What follows is close in meaning."))
    elif found.unknown and answer.items:
        words = ", ".join(f"“{word}”" for word in found.unknown)
        told.append(Told(f"Nothing here has {words}; the other words were searched."))
    return told


@dataclass(frozen=True, slots=True)
class Instead:
    """Another search, as a link."""

    text: str
    link: str


def instead_of(answer: Answer | None, asked: PageQuery) -> list[Instead]:
    """What to try where few items have all words; what is narrower the other searches tell."""
    found = answer.understood.rewrites if answer and answer.understood else ()
    return [
        Instead(one.text, _link(one.text, asked.user)) for one in found if one.kind != "narrower"
    ]


def _link(text: str, user_id: str, **more: str) -> str:
    return f"/search?{urlencode({'q': text, 'user': user_id, **more})}"
