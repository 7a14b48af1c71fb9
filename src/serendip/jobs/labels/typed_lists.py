"""Lists of typed texts to be labelled, and control questions, whose right answers are known.

Texts are those that enough people typed, those that an LLM wrote, and suggested ones. Of each list
the first ten items are labelled, which people see, and some behind: these may move up, and there
the irrelevant ones are.

A control question asks whether an item is a good result for its own title, or for the title of
another item that is least like it of many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, islice, zip_longest

import numpy as np

from serendip.data import Dataset, IntArray
from serendip.data.events.search_log import LoggedRequest
from serendip.data.privacy import count_people, is_private, is_publishable
from serendip.data.text import normalise
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.base import FIRST
from serendip.engine.state import TYPED_TEXTS
from serendip.jobs.context import JobContext
from serendip.jobs.labels.pair_files import Pair
from serendip.jobs.labels.shown_lists import ListRequest
from serendip.jobs.surface_quality.answers import without_relevance_filter
from serendip.jobs.whole_answers import answer_whole

BEHIND, DEPTH = 10, 200
"""Items behind the first ten that are labelled, and the rank that they reach to."""

_AMONG = 50
"""Items of which the one least like a title is a wrong result for it."""


def find_public_requests(dataset: Dataset, surface: str, min_users: int) -> list[LoggedRequest]:
    """Logged requests of people whose text enough of them typed, and that nobody's number is in."""
    asked = [one for one in dataset.requests if one.surface == surface and one.user_id]
    people: dict[str, set[str]] = defaultdict(set)
    for one in asked:
        people[normalise(one.text)].add(one.user_id)
    return [
        one
        for one in asked
        if len(count_people(people[normalise(one.text)])) >= min_users
        and one.text.strip()
        and not is_private(one.text)
    ]


def draw_typed_lists(
    context: JobContext, engine: Engine, written: Sequence[str], count: int
) -> list[tuple[ListRequest, list[str]]]:
    """Lists of different texts, as search shows them to a visitor without the relevance filter.

    Args:
        context: log and settings; its seed draws the texts.
        engine: answers.
        written: texts by an LLM.
        count: of lists, at most.
    """
    config = without_relevance_filter(context.settings.all_surfaces()[TYPED_TEXTS])
    texts = islice(_choose_texts(context, engine, written), count)
    queries = engine.queries([Request(TYPED_TEXTS, text=text) for text in texts])
    results = answer_whole(queries, config, engine.state)
    return [
        (ListRequest.of_text(query.text), engine.item_ids(_choose_items(result.items.item_nums)))
        for query, result in zip(queries, results, strict=True)
        if len(result.items)
    ]


def _choose_texts(context: JobContext, engine: Engine, written: Sequence[str]) -> Iterator[str]:
    """Different texts: typed, written and suggested ones in turn."""
    least, table = context.settings.queries.min_users, engine.state.queries
    typed = find_public_requests(context.dataset, TYPED_TEXTS, least)
    random = np.random.default_rng(context.options.seed)
    suggested = [
        text for text, kind in zip(table.texts, table.kinds, strict=True) if kind != "like"
    ]
    groups = (list(dict.fromkeys(one.text for one in typed)), list(written), suggested)
    shuffled = ([group[row] for row in random.permutation(len(group))] for group in groups)
    in_turn = filter(None, chain.from_iterable(zip_longest(*shuffled)))
    yield from {normalise(text): text for text in in_turn if normalise(text)}.values()


def _choose_items(ranked: IntArray) -> IntArray:
    """The first items, and some behind: the deeper the fewer."""
    last = min(len(ranked), DEPTH) - 1
    if last <= FIRST:
        return ranked[: FIRST + 1]
    behind = np.geomspace(FIRST, last, BEHIND).round().astype(np.intp)
    return np.concatenate([ranked[:FIRST], ranked[np.unique(behind)]])


def make_controls(context: JobContext, count: int) -> dict[Pair, bool]:
    """Pairs -> whether the item is irrelevant: as many right results as wrong ones.

    Args:
        context: items and text encoder; its seed draws them.
        count: of titles, at most.
    """
    catalogue, random = context.dataset.catalogue, np.random.default_rng(context.options.seed)
    order = random.permutation(len(catalogue)).tolist()
    titled = [one for one in order if normalise(catalogue.title(one))]
    asked = [one for one in titled if is_publishable(catalogue.title(one))][:count]
    others = titled[: max(_AMONG, count)]
    fields = context.settings.content.fields
    texts = [catalogue[number].text(fields) for number in others]
    titles = [catalogue.title(number) for number in asked]
    vectors = context.vectors.encode(context.encoder, [*titles, *texts])
    likeness = vectors[: len(titles)] @ vectors[len(titles) :].T  # (titles, others)
    controls: dict[Pair, bool] = {}
    for number, title, row in zip(asked, titles, likeness, strict=True):
        drawn = random.permutation(len(others))[:_AMONG]
        wrong = others[int(drawn[np.argmin(row[drawn])])]
        for item, is_irrelevant in ((number, False), (wrong, True)):
            if item != number or not is_irrelevant:
                controls[title, catalogue[item].item_id] = is_irrelevant
    return controls
