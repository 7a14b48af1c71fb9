"""Sentences said to somebody: what they ask for, without the words of the conversation.

"Hi, can you recommend a funny movie?" asks for a funny movie, "I want something like Heat" for what
is like Heat. The words are English ones; sentences in other languages are searched as typed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from serendip.data.text import fold, normalise, words
from serendip.search.phrases import ENGLISH
from serendip.search.understanding import GENERIC

ANYTHING = "best"
"""What a sentence asks for that names nothing: "can you recommend a movie?"."""

_SPOKEN = frozenset(
    "im ive ill youre havent hasnt didnt dont thanks thank hi hello hey please okay yeah "
    "recommendation recommendations suggestion suggestions recommend suggest recomend".split()
)
"""Words that are said to somebody, and hardly written on an item."""

_PERSONS = frozenset("i we me us you u".split())
_VERBS = frozenset("are can could did do had have should was will would".split())
_BEGINNINGS = frozenset({("looking", "for"), ("how", "about"), ("what", "about")})
"""Function words beside a person, and other pairs of words, that make a text a sentence."""

_SPEECH = (
    ENGLISH
    | _SPOKEN
    | _PERSONS
    | frozenset(
        "able absolutely actually add ah alright am anyone anything anyway arent ask available "
        "awesome bad been bit bored bye check cool couldnt definitely different doesnt doing "
        "either else enjoy enjoyed enjoying especially ever example fan favorite favorites "
        "favourite favourites find fine fond found give given glad go going gonna good got "
        "great guess ha haha happen hate hated hear heard help helping hmm honestly hope hoping "
        "id idea ideas interested interesting isnt kind kinda kinds know known lately let lets "
        "like liked likes liking lol looking looks lot lots loved lovely loves maybe mean "
        "mention mentioned mind mood my myself need needed needs neither never nice oh ok "
        "option options others perhaps possible prefer preferably pretty probably put quite "
        "rather really recently remember right saw say searching see seeing seem seems seen "
        "similar something sorry sort sorts sounds stuff suggested sure take talk tell thats "
        "theres thing things think thinking though thought today told tonight tried try trying "
        "type types usually want wanted wanting wants wasnt watched watching well whats wish "
        "wonder wondering wont wouldnt yea yep yes yet youd youll".split()
    )
)
"""Words that say nothing of an item in a sentence."""

_VERBS_TOO = frozenset(
    "couple day evening feel feeling genre genres list look love morning name names night play "
    "read reading search share shopping show sound start style time watch week weekend".split()
)
"""Words that say nothing of an item behind a person, a verb or another such word: "I want to watch
something", but "I want a watch"."""

_BEFORE_VERBS = frozenset({"to"}) | _VERBS | (_SPEECH - (ENGLISH - _PERSONS))

_LONGEST, _FEWEST_OF_TITLE = 10, 4
"""Words of the longest name that is looked for in a sentence, and of a name of such words alone."""

_YEAR = re.compile(r"\((?:19|20)\d\d\)")

_WISH = re.compile(
    rf"\b(?:{'|'.join(sorted(GENERIC))}|something|anything|ones?|stuff|things?)"
    r"(?: \w+)? (?:like|similar to) ([^.,;!?]+)"
)
"""What others like one are asked for by, within a sentence: "something like Heat"."""


def is_spoken(said: Sequence[str]) -> bool:
    """Whether words are said to somebody: by a word that is, or a person beside a verb."""
    beside = _VERBS | _VERBS_TOO | (_SPEECH - ENGLISH - _PERSONS)
    return not _SPOKEN.isdisjoint(said) or any(
        (first, second) in _BEGINNINGS
        or (first in _PERSONS and second in beside)
        or (second in _PERSONS and first in beside)
        for first, second in pairwise(said)
    )


def without_speech(text: str, is_name: Callable[[str], bool]) -> str:
    """The words of a sentence that say what is asked for, or ``ANYTHING``.

    Args:
        text: as typed.
        is_name: whether words are a title, or a value of an attribute; its words all stay.
    """
    said, kept, before = words(normalise(_YEAR.sub(" ", fold(text)))), list[str](), ""
    while said:
        name = _first_name(said, is_name) or said[:1]
        is_verb = name[0] in _VERBS_TOO and before in _BEFORE_VERBS
        is_speech = len(name) == 1 and (is_verb or name[0] in _SPEECH)
        kept += () if is_speech else name
        said, before = said[len(name) :], name[-1]
    return ANYTHING if GENERIC.issuperset(kept) else " ".join(kept)


def find_wished(text: str, is_name: Callable[[str], bool]) -> str:
    """The name that a sentence asks for others like; empty = it asks for none."""
    match = _WISH.search(fold(text))
    said = words(normalise(_YEAR.split(match[1])[0])) if match else []
    name = _first_name(said, is_name)
    if not name and len(said) == 1 and not _SPEECH.issuperset(said):
        name = said
    return " ".join(name)


def _first_name(said: Sequence[str], is_name: Callable[[str], bool]) -> Sequence[str]:
    """The longest name of several words that words begin with; empty = none."""
    sizes = range(min(_LONGEST, len(said)), 1, -1)
    names = (said[:size] for size in sizes)
    return next((name for name in names if _says(name) and is_name(" ".join(name))), ())


def _says(name: Sequence[str]) -> bool:
    """Whether words say something of an item, as those of a long title do in any case."""
    return len(name) >= _FEWEST_OF_TITLE or not _SPEECH.issuperset(name)
