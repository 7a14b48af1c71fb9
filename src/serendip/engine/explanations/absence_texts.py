"""Sentences that say why an item is not shown, and what would change it, in every language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from serendip.engine.explanations.translation import Language
from serendip.engine.stages.exploration import EXPLORED
from serendip.engine.stages.sponsored import SPONSORED

Wording: TypeAlias = tuple[Mapping[Language, str], Mapping[Language, str]]
"""Why the item is absent, and what would change it."""

STAGES: Mapping[str, Wording] = {
    "seen": (
        {"en": "You have chosen or rejected it already", "ko": "이미 선택했거나 거절한 항목입니다"},
        {
            "en": "After the time in [repeats], or on a surface without the filter seen",
            "ko": "[repeats]의 기간이 지나거나, seen 필터가 없는 화면이어야 합니다",
        },
    ),
    "rejected": (
        {"en": "You rejected it", "ko": "거절한 항목입니다"},
        {
            "en": "A later like or choice takes the rejection back",
            "ko": "나중에 좋아하거나 선택하면 거절이 취소됩니다",
        },
    ),
    "context": (
        {"en": "The request is about this item itself", "ko": "요청에 담긴 항목 자체입니다"},
        {"en": "Ask without it", "ko": "이 항목을 빼고 요청하세요"},
    ),
    "request": (
        {"en": "It fails a filter of the request", "ko": "요청의 필터에 걸립니다"},
        {"en": "Ask without the filter", "ko": "필터를 빼고 요청하세요"},
    ),
    "relevance filter": (
        {
            "en": "It is probably irrelevant to the request",
            "ko": "요청과 관련이 없을 가능성이 큽니다",
        },
        {
            "en": "A higher threshold in [surfaces.{surface}.relevance_filter], or labels that call"
            " it relevant",
            "ko": "[surfaces.{surface}.relevance_filter]의 threshold를 높이거나, 관련이 있다는"
            " 라벨이 필요합니다",
        },
    ),
    "min value": (
        {
            "en": "Its score of {score} is too low, or too few items reach the threshold",
            "ko": "점수 {score}점이 너무 낮거나, 기준을 넘는 항목이 너무 적습니다",
        },
        {
            "en": "A lower threshold in [surfaces.{surface}.min_value]",
            "ko": "[surfaces.{surface}.min_value]의 threshold를 낮춰야 합니다",
        },
    ),
    "moved by diversity": (
        {
            "en": "Others of its group are shown, and it waits for them",
            "ko": "같은 그룹의 다른 항목이 먼저 나와서 기다리고 있습니다",
        },
        {
            "en": "A larger number most in [surfaces.{surface}.diversity]",
            "ko": "[surfaces.{surface}.diversity]의 most를 늘려야 합니다",
        },
    ),
    EXPLORED: (
        {
            "en": "A place that its score would have had went to a new item",
            "ko": "점수로 얻을 자리가 새 항목에 돌아갔습니다",
        },
        {
            "en": "A smaller share in [surfaces.{surface}.exploration]",
            "ko": "[surfaces.{surface}.exploration]의 share를 줄여야 합니다",
        },
    ),
    SPONSORED: (
        {
            "en": "Its place was sold, or only its bid brought it here and it bought no place",
            "ko": "자리가 광고에 팔렸거나, 입찰만으로 후보가 되어 자리를 얻지 못했습니다",
        },
        {"en": "A higher bid", "ko": "입찰가를 높여야 합니다"},
    ),
}
"""Name of a stage -> sentences."""

ATTRIBUTE: Wording = (
    {
        "en": "The filter “{stage}” of this surface leaves it out",
        "ko": "이 화면의 ‘{stage}’ 필터에 걸립니다",
    },
    {
        "en": "Another value of the attribute, or [surfaces.{surface}] filters without it",
        "ko": "속성값이 달라지거나, [surfaces.{surface}]의 filters에서 빼야 합니다",
    },
)

UNLIKE: Wording = (
    {
        "en": "It is no more like the items of the request than any other item",
        "ko": "요청의 항목과 닮은 정도가 다른 항목과 다르지 않습니다",
    },
    {
        "en": "Attributes or words in common, or the surface next, of what is chosen next",
        "ko": "공통된 속성이나 단어, 또는 다음에 선택되는 항목의 화면 next가 필요합니다",
    },
)

UNTIED: Wording = (
    {"en": "No source proposed it", "ko": "후보로 제안한 소스가 없습니다"},
    {
        "en": "Events or words that tie it to the request, or a further source in"
        " [surfaces.{surface}.sources]",
        "ko": "요청과 이어지는 이벤트나 단어, 또는 [surfaces.{surface}.sources]의 다른 소스가"
        " 필요합니다",
    },
)

UNPROPOSED: Wording = (
    {
        "en": "No source proposed it; with its score of {score} it would be number {place}",
        "ko": "후보로 제안한 소스가 없습니다. 점수 {score}점이면 {place}번째입니다",
    },
    {
        "en": "In [surfaces.{surface}.sources], a larger quota of one that scores it: {sources}",
        "ko": "[surfaces.{surface}.sources]에서 이 항목에 점수를 주는 소스의 몫을 늘려야 합니다:"
        " {sources}",
    },
)

LENGTH: Wording = (
    {
        "en": "The list ends after {count} items; its score of {score} is below theirs",
        "ko": "목록은 {count}개에서 끝나고, 점수 {score}점은 그보다 낮습니다",
    },
    {
        "en": "A longer list (k in [surfaces.{surface}.min_value])",
        "ko": "[surfaces.{surface}.min_value]의 k를 늘려야 합니다",
    },
)

SCORE: Wording = (
    {
        "en": "It is number {place}: its score of {score} is not above {last}, that of the last"
        " item shown",
        "ko": "{place}번째입니다. 점수 {score}점이 마지막 항목의 {last}점보다 높지 않습니다",
    },
    {
        "en": "A score above {last}, or a list of {place} items or more",
        "ko": "점수가 {last}점보다 높거나, 항목을 {place}개 이상 요청해야 합니다",
    },
)

ORDER: Wording = (
    {
        "en": "It is number {place} in the order {sort}",
        "ko": "{sort} 순서로 {place}번째입니다",
    },
    {
        "en": "A list of {place} items or more, or another order",
        "ko": "항목을 {place}개 이상 요청하거나, 다른 순서로 요청해야 합니다",
    },
)

UNMATCHED: Wording = (
    {
        "en": "It does not have the words of the search, or comes after the {count} items of this"
        " order",
        "ko": "검색한 단어가 없거나, 이 순서의 {count}개 항목보다 뒤에 있습니다",
    },
    {
        "en": "Other words, more filters or another order",
        "ko": "다른 단어나 순서로 요청하거나, 필터를 더해야 합니다",
    },
)
