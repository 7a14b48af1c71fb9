"""Sentences said to somebody: what they ask for, without the words of the conversation.

"Hi, can you recommend a funny movie?" asks for a funny movie, "I want something like Heat" for what
is like Heat. The words are English ones; sentences in other languages are searched as typed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serendip.data import fold, normalise, words
from serendip.search.language import ENGLISH
from serendip.search.understanding import GENERIC

ANYTHING = "best"
"""What a sentence asks for that names nothing: "can you recommend a movie?"."""

_FEWEST_WORDS = 4
"""Words of a sentence that may ask for anything: "i want" is not ended yet."""

_APOSTROPHES = re.compile("['\u2019]")

_SAID = re.compile(
    r"^(?:hi|hello|hey)(?: there)?(?:[,.!]| (?:i|im|ive|can|could|do|are|how|what|any)\b)"
    r"|\b(?:i|we) (?:am|are|also|just|really|want|need|like|love|liked|loved|enjoy|enjoyed|prefer"
    r"|had|was|have|havent|would|will|could|saw|seen|watched|think|know|never|dont|did"
    r"|didnt|hate|feel)\b"
    r"|\b(?:im|ive|id) [a-z]"
    r"|\b(?:can|could|do|did|have|would|will|are|should) (?:you|u|i|we)\b"
    r"|\b(?:show|give|find|tell|get|recommend|recomend|suggest) (?:me|us)\b"
    r"|^(?:looking for|how about|what about|recommend|suggest) |^please | please[.!?]?$"
    r"|\bany (?:\w+ )?(?:recommendations?|suggestions?)\b|\bin the mood for\b"
    r"|^(?:thanks\b|thank you[,.! ]+(?:i|but|do|can|for)\b)"
    r"|^any (?:good|other|great) |^what (?:is|are|should|would|was|were)\b"
)
"""What people say to somebody, and hardly write on an item."""

_PHRASES = re.compile(
    r"(?i)^(?:oh|ok|okay|yes|yeah|no|well)\b[,. ]|\((?:19|20)\d\d\)|\bin the mood\b"
    r"|\b(?:a )?(?:big |huge )?fan of\b|\b(?:kinds?|sorts?|types?|lots?|couple) of\b|\bfeel like\b"
    r"|\bsuch as\b|\bas well\b|\bright now\b|\bof course\b|\bthe names? of\b|\bin stock\b"
    r"|\b(?:help|show|find|give|tell|get) (?:me|us)\b|\ba (?:lot|bit|few)\b"
    r"|\b(?:nice|good|great) (?:day|night|evening|time|weekend)\b"
    r"|\bfor (?:the|this) weekend\b"
)
"""Phrases of a conversation whose words say something elsewhere: "well pumps", "a fan"."""

_SPEECH = ENGLISH | frozenset(
    "able absolutely actually add ah alright am anyone anything anyway arent ask available "
    "awesome bad been bored buy bye cool couldnt definitely didnt different doesnt doing dont "
    "either else enjoy enjoyed enjoying especially ever example favorite favorites favourite "
    "favourites fine fond found genre genres give given glad go going gonna good got great "
    "guess ha haha happen hasnt hate hated havent hear heard hello helping hey hi hmm honestly "
    "hope hoping i id idea ideas ill im interested interesting isnt ive kinda know known lately "
    "let lets like liked likes liking lol looked looking loved loves maybe me mentioned my "
    "myself need needed needs neither never nice oh ok okay others perhaps please possible "
    "prefer preferably pretty probably quite rather really recently recomend recommend "
    "recommendation recommendations recommended remember say searching see seeing seem seems "
    "seen sell similar something sorry sound sounds stuff suggest suggested suggestion "
    "suggestions sure take tell thank thanks thats theres thing things think thinking though "
    "thought today told tonight tried try trying u us usually want wanted wanting wants wasnt "
    "watched watching whats wish wondering wont wouldnt yea yeah yep yes yesterday yet youd "
    "youll youre".split()
)
"""Words that say nothing of an item in a sentence."""

_AMBIGUOUS = frozenset(
    "day evening feel feeling look love mean mind morning night play read reading saw search "
    "share shopping show start talk time watch week weekend".split()
)
"""Words that say nothing of an item behind a person, a verb or another such word: "I want to watch
something", but "I want a watch"."""

_BEFORE_VERBS = frozenset(
    "to i we me us you u are can could did do had have was will would".split()
) | (_SPEECH - ENGLISH)

_LONGEST, _FEWEST_OF_TITLE = 10, 4
"""Words of the longest name that is looked for in a sentence, and of a name of such words alone."""

_REFUSED = re.compile(
    r"(?i)(?:\b(?:do not|did not|dont|didnt)|n't)(?: \w+)? (?:like|want|need|love|enjoy)\b[^.,;!?]*"
    r"|\bbut (?:not|no|nothing)\b[^.,;!?]*|\b(?:not|nothing) too \w+|\bi hate\b[^.,;!?]*"
)
"""What a sentence says that is not wanted, to the end of its clause."""

_YEAR = re.compile(r"\((?:19|20)\d\d\)")

_WISH = re.compile(
    rf"\b(?:{'|'.join(sorted(GENERIC))}|something|anything|ones?|stuff|things?|recommendations?)"
    r"(?: \w+)? (?:like|similar to) ([^.,;!?]+)"
)
"""What others like one are asked for by, within a sentence: "something like Heat"."""

_ASKED_FOR = re.compile(r"\b(?:see|watch|have|find|buy|get|read|called) (.+)$")
"""What may be a title, whatever its words: "do you have the thing"."""

_AFTER_TITLE = frozenset("but with and or for in except please only from".split())

IsName = Callable[[str], bool]
"""Whether words are a title, or a value of an attribute."""


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of a sentence, and whether it is written as a name is."""

    text: str
    is_capital: bool


def is_spoken(text: str) -> bool:
    """Whether a text is said to somebody."""
    return _SAID.search(_APOSTROPHES.sub("", fold(text))) is not None


def without_speech(text: str, is_name: IsName) -> str:
    """The words of a sentence that say what is asked for, or ``ANYTHING``; empty of a short text
    that says nothing yet.

    All words of a name stay.
    """
    match = _ASKED_FOR.search(fold(text))
    if match and is_name(title := normalise(match[1])) and " " in title:
        return title
    said, kept, before, names = _read(text), list[str](), "", False
    while said:
        name = _first_name(said, is_name)
        size = max(len(name), 1)
        word = said[0]
        if name:
            kept += [part.text for part in name]
            names = True
        elif not _is_speech(word.text, before) or (
            word.is_capital and before and is_name(word.text)  # a first word begins large
        ):
            kept.append(word.text)
            names |= word.text in GENERIC and is_name(word.text)
        said, before = said[size:], said[size - 1].text
    if names or not GENERIC.issuperset(kept):
        return " ".join(kept)
    return ANYTHING if len(words(normalise(text))) >= _FEWEST_WORDS else ""


def find_wished(text: str, is_name: IsName) -> str:
    """The name that a sentence asks for others like; empty = it asks for none."""
    match = _WISH.search(fold(text))
    said = _read(_YEAR.split(match[1])[0]) if match else []
    name = _first_name(said, is_name)
    if not name and said and {word.text for word in said[1:2]} <= _AFTER_TITLE:
        name = [word for word in said[:1] if word.text not in _SPEECH and is_name(word.text)]
    return " ".join(word.text for word in name)


def _read(text: str) -> list[_Word]:
    wanted = _REFUSED.sub(" ", _PHRASES.sub(" ", text))
    return [
        _Word(word, chunk[0].isupper() and word != "i")
        for chunk in wanted.split()
        for word in words(normalise(chunk))
    ]


def _is_speech(word: str, before: str) -> bool:
    return word in _SPEECH or (word in _AMBIGUOUS and before in _BEFORE_VERBS)


def _first_name(said: Sequence[_Word], is_name: IsName) -> Sequence[_Word]:
    for size in range(min(_LONGEST, len(said)), 1, -1):
        name = said[:size]
        says = size >= _FEWEST_OF_TITLE or not _SPEECH.issuperset(word.text for word in name)
        is_written = all(word.is_capital for word in name)
        if (says or is_written) and is_name(" ".join(word.text for word in name)):
            return name
    return ()
