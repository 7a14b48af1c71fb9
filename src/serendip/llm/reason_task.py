"""LLM task: words the reason for a shown item from the evidence of its sentence, and nothing else.

An answer is refused unless it has every name of the evidence and is of the same kind: "popular" is
no wording of "similar". It is refused, too, if it has a negation, a number, a
capitalised word, a word of a script without capitals or a quoted text that the evidence does not
have; lists say which words name nothing. A name without a capital passes, except what the
catalogue names, which ``NamedThings`` refuses.

English has capitals, so only the first word of a sentence needs a list. Korean has none: every word
must be of the evidence, a word of a list, or begin with a stem of one. There are no lists for other
scripts without capitals, because reasons are in no language that is written in one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

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
A name is ``x``."""

FIRST_WORDS = frozenset(
    "a also among an and another anybody anyone as at based because both by chosen everybody "
    "everyone fans for from given has have having here heres if in it its just like liked "
    "listeners lots loved many maybe meant more most much new newly of often on one other "
    "others people perhaps picked popular probably readers recent recently related several "
    "shoppers similar since so some somebody someone than that the them there these they this "
    "those to try users viewers visitors we when whenever whoever with you your youve after "
    "before customers enjoyed enjoying liking picking choosing while where".split()
)
"""First words of English sentences, in the form of ``normalise``."""

NUMBERS = frozenset(
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety "
    "hundred hundreds thousand thousands million millions billion billions dozen dozens half "
    "twice".split()
)
"""Numbers in letters; "one" is more often a pronoun."""

NEGATIONS = frozenset(
    "not no never nor neither none nothing nobody without hardly barely unlike cannot except "
    "instead dislike disliked hate hated dont doesnt didnt isnt arent wasnt werent wont cant "
    "couldnt shouldnt wouldnt hasnt havent hadnt aint 안 못 아닌 아니라 아니고 아닙니다 "
    "아니에요 아니면".split()
)

NEGATED = ("않", "없", "못하", "못했", "싫")
"""Parts of Korean words that do the same."""

PARTICLES = frozenset(
    "이 가 을 를 은 는 의 에 에서 에게 로 으로 와 과 도 만 이나 나 처럼 보다 부터 까지 이라면 "
    "라면 이랑 랑 하고 이고 고 인 입니다 이에요 예요 라서 이라서 을를 이가 은는 과와 님 들".split()
)
"""What follows a Korean noun without a space; each may be a word after a quoted name."""

KOREAN_WORDS = frozenset(
    "이 그 더 또 한 중 중에 중에서 개 번 분 분이 분은 분들 것 수 때 후 뒤 꼭 참 잘".split()
)
"""Korean words of one syllable, of which nothing else is accepted, and their forms."""

KOREAN_STEMS = tuple(
    "좋아 좋은 좋을 좋습 즐기 즐겨 즐긴 즐길 이것 이런 이번 이어 그것 그런 그래서 그렇 여기 "
    "다음 자주 종종 많은 많이 많습 선택 고르 고른 골라 고르신 비슷 닮은 같은 같이 같습 마찬가지 "
    "인기 새로 최근 전에 이전 예전 그룹 찾으 찾는 관련 단어 들어 사람 추천 어울 거예요 것입니다 "
    "것도 것과 것이 있습 있어 있는 있을 드려 드립 드리 마음 함께 다른 상위 입력 제목 하신 하셨 "
    "하시 합니다 해요 때문 또한 역시 당신 고객 회원 여러 보신 보셨 보고 보세요 보시 분들이 "
    "분들은 분들께 분들도 나왔 나온 여러분 아마 작품 상품 항목 이용 관심".split()
)
"""Beginnings of Korean words, of two syllables, so that no surname is one."""


MAX_LENGTH = 160
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_QUOTED = re.compile(r"[“‘\"«「『]([^”’\"»」』]+)[”’\"»」』]")
_END = re.compile(r"[.!?。]\s+\S")


class WordedReason(TaskAnswer):
    """A reason in other words; the data are {"item", "reason", "names"}."""

    prompt = "reason-1"

    sentence: Annotated[str, Field(min_length=8, max_length=MAX_LENGTH)]

    def find_problem(self, data: Mapping[str, Any]) -> str:
        """See ``TaskAnswer``."""
        return find_problem(self.sentence, data)


def find_problem(sentence: str, data: Mapping[str, Any]) -> str:
    """Why a sentence is not a wording of a reason; empty if it is one."""
    if holds_address(sentence) or not is_plain(sentence):
        return "it holds an address, or signs that are no text"
    if _END.search(_without_names(sentence, data)):
        return "it is more than one sentence"
    said = normalise(sentence)
    if not all(_has_name(said, name) for name in data["names"]):
        return "a name of the evidence is missing"
    if not _keeps_kind(sentence, data):
        return "it is of another kind than the reason"
    given = normalise(" ".join(_texts(data)))
    known = set(given.split())
    words = _WORD.findall(_without_names(sentence, data))
    told = set(normalise(_without_names(str(data["reason"]), data)).split())
    if any(_negates(word) and normalise(word) not in told for word in words):
        return "it has a negation"
    for place, word in enumerate(words):
        if _may_name(word, place == 0) and not _is_known(word, known):
            return "it names something that the evidence does not name"
    if any(normalise(quoted) not in given for quoted in _QUOTED.findall(sentence)):
        return "it quotes something that the evidence does not name"
    return ""


def _has_name(said: str, name: str) -> bool:
    """Whether a normalised text has a name as whole words; a Korean particle may follow."""
    return bool(re.search(rf"(?<!\w){re.escape(normalise(name))}(?![0-9a-z])", said))


def _keeps_kind(sentence: str, data: Mapping[str, Any]) -> bool:
    said, told = (normalise(_without_names(text, data)) for text in (sentence, data["reason"]))
    kind = next((kind for kind, words in KINDS.items() if re.search(words, told)), "")
    if not kind or not re.search(KINDS[kind], said):
        return False
    return all(re.search(words, told) or not re.search(words, said) for words in CLAIMS.values())


def _negates(word: str) -> bool:
    return normalise(word) in NEGATIONS or any(part in word for part in NEGATED)


def _may_name(word: str, is_first: bool) -> bool:
    if any(sign.isdigit() for sign in word) or normalise(word) in NUMBERS:
        return True
    if any(unicodedata.category(sign) == "Lo" for sign in word):  # no capitals in its script
        return word not in PARTICLES | KOREAN_WORDS and not word.startswith(KOREAN_STEMS)
    return word[0].isupper() and not (is_first and normalise(word) in FIRST_WORDS)


def _is_known(word: str, known: set[str]) -> bool:
    """Whether the evidence has a word, which in Korean may have another particle."""
    parts = normalise(word).split()
    if set(parts) <= known:
        return True
    return len(parts) == 1 and any(
        parts[0].startswith(one) and parts[0][len(one) :] in PARTICLES for one in known
    )


def _texts(data: Mapping[str, Any]) -> list[str]:
    return [str(data["item"]), str(data["reason"]), *map(str, data["names"])]


def _without_names(sentence: str, data: Mapping[str, Any]) -> str:
    """The sentence with one lower-case word in place of each name and of the item."""
    for name in sorted((data["item"], *data["names"]), key=len, reverse=True):
        if name:
            sentence = re.sub(re.escape(name), " x ", sentence, flags=re.IGNORECASE)
    return sentence


@dataclass(frozen=True, slots=True, eq=False)
class NamedThings:
    """What a catalogue names: values of attributes, and titles of two words or more, normalised."""

    keys: frozenset[str]
    longest: int

    @classmethod
    def of(cls, values: Iterable[str], titles: Iterable[str]) -> Self:
        """Collect the normal forms; single words of titles are too common."""
        keys = set(map(normalise, values))
        keys |= {key for key in map(normalise, titles) if " " in key}
        keys.discard("")
        return cls(frozenset(keys), max((key.count(" ") + 1 for key in keys), default=0))

    def others(self, sentence: str, data: Mapping[str, Any]) -> Iterator[str]:
        """What a sentence names of the catalogue that the evidence of ``data`` does not name."""
        given = f" {normalise(' '.join(_texts(data)))} "
        words = normalise(sentence).split()
        for begin in range(len(words)):
            for length in range(1, min(self.longest, len(words) - begin) + 1):
                key = " ".join(words[begin : begin + length])
                if key in self.keys and f" {key} " not in given:
                    yield key
