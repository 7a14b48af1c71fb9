"""Sentences that say why an item is shown, in every language; those of a model are its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from serendip.engine.explanations.translation import Language

Sentence: TypeAlias = Mapping[Language, str]
"""Language -> template."""

TITLE: Sentence = {"en": "The title is what you typed", "ko": "입력하신 제목 그대로입니다"}
ITEM_ID: Sentence = {
    "en": "Its number is what you typed",
    "ko": "입력하신 번호의 항목입니다",
}
MEANT: Sentence = {
    "en": "Probably meant by “{text}”",
    "ko": "‘{text}’{text:을/를} 찾으신 것 같습니다",
}
WORDS: Sentence = {"en": "Matches “{text}”", "ko": "‘{text}’에 맞는 항목입니다"}
RELATED: Sentence = {"en": "Related to “{text}”", "ko": "‘{text}’{text:과/와} 관련이 있습니다"}

AGAIN: Sentence = {"en": "You chose it before", "ko": "전에 선택하셨습니다"}

VALUE_OF_PAST: Sentence = {
    "en": "{value}, like {count} of the last {size} you chose",
    "ko": "최근 선택하신 {size}개 중 {count}개와 같은 ‘{value}’입니다",
}
VALUE_OF_ITEM: Sentence = {
    "en": "{value}, like {title}",
    "ko": "‘{title}’{title:과/와} 같은 ‘{value}’입니다",
}

GROUP: Sentence = {
    "en": "In the same group as {title}",
    "ko": "‘{title}’{title:과/와} 같은 그룹입니다",
}
NAMED_GROUP: Sentence = {
    "en": "In the same group as {title}: {name}",
    "ko": "‘{title}’{title:과/와} 같은 그룹입니다: {name}",
}

COUNTRY: Sentence = {"en": "Popular in {country}", "ko": "{country}에서 인기가 많습니다"}
POPULAR: Sentence = {
    "en": "Among the {share} % most popular, with {count:,} interactions",
    "ko": "인기 상위 {share} %에 듭니다. {count:,}번 선택되었습니다",
}
NEW: Sentence = {"en": "New here", "ko": "새로 나왔습니다"}
NEW_AND_LIKE: Sentence = {
    "en": "New, and like {title}",
    "ko": "새로 나왔고 ‘{title}’{title:과/와} 비슷합니다",
}
