"""Titles as people say them, out of titles as libraries file them.

Library catalogues move the article to the end and the year into brackets: "Matrix, The (1999)".
Nobody types that, so it is undone at the door.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_ARTICLES = (
    *("The", "A", "An"),
    *("Le", "La", "Les", "L'", "Un", "Une", "Des"),
    *("Der", "Die", "Das", "Ein", "Eine", "Den", "Det", "De", "Het", "Een", "En", "Ett"),
    *("El", "Los", "Las", "Lo", "Il", "I", "Gli", "Uno", "Una", "O", "Os", "As", "Um", "Uma"),
)
_ARTICLE = "|".join(re.escape(article) for article in sorted(_ARTICLES, key=len, reverse=True))
_MOVED = re.compile(rf"^(?P<rest>.*\S),\s+(?P<article>{_ARTICLE})$", re.IGNORECASE | re.DOTALL)
_YEAR = re.compile(r"^(?P<rest>.*\S)\s*\((?P<year>(?:18|19|20)\d\d)\)$", re.DOTALL)
_ASIDE = re.compile(r"\(([^()]*)\)")


def plain_title(title: str) -> tuple[str, float | None]:
    """Undo the library's order of words.

    Returns:
        the title as spoken and the year of the trailing brackets, None where there is none.
        "Postman, The (Postino, Il) (1994)" -> ("The Postman (Il Postino)", 1994.0)
    """
    rest = title.strip()
    year = None
    if dated := _YEAR.match(rest):
        rest, year = dated["rest"], float(dated["year"])
    asides = _ASIDE.findall(rest)
    head = _ASIDE.sub("", rest).strip()
    if not asides or not rest.endswith(")") or not head:
        return _with_article_in_front(rest), year
    named = " ".join(f"({_aside(aside)})" for aside in asides)
    return f"{_with_article_in_front(re.sub(r'  +', ' ', head))} {named}", year


def looks_like_library_style(titles: Iterable[str]) -> bool:
    """True where moved articles or bracketed years are a habit of these titles, not an accident."""
    checked = [title.strip() for title in titles if title.strip()]
    moved = sum(plain_title(title)[0] != title for title in checked)
    return bool(checked) and moved >= max(1, 0.05 * len(checked))


def _aside(text: str) -> str:
    """The words of one pair of brackets; "a.k.a." stays in front of what it introduces."""
    known_as = re.match(r"(a\.k\.a\.\s+)(.*)$", text, re.DOTALL)
    if known_as:
        return known_as[1] + _with_article_in_front(known_as[2])
    return _with_article_in_front(text)


def _with_article_in_front(text: str) -> str:
    moved = _MOVED.match(text.strip())
    if not moved:
        return text.strip()
    gap = "" if moved["article"].endswith("'") else " "
    return f"{moved['article']}{gap}{moved['rest']}"
