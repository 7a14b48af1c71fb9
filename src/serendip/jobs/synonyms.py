"""Proposes synonyms for review by a person: pairs of texts after which people chose the same items.

Pairs that are already in the table, whatever their state, are not changed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from serendip.data.events.search_log import SUGGESTED, LoggedRequest
from serendip.data.privacy import count_people, private_keys
from serendip.data.text import normalise, words
from serendip.engine.workspace import Workspace
from serendip.jobs.context import JobContext
from serendip.search.synonyms import MOST_WORDS, Synonym, add_synonyms

MIN_LETTERS, MIN_ITEMS = 3, 3
"""Minimum letters and items of a catalogue word; synonyms of others are not useful."""

MIN_USERS = 3
"""Minimum number of people who searched a proposed text; see ``data.privacy``."""

MIN_COSINE = 0.8


def mine_synonyms(context: JobContext) -> dict[str, Any]:
    """Propose synonyms without an LLM; see ``add_proposals``."""
    return add_proposals(context.workspace, propose_from_log(context.dataset.requests))


def add_proposals(workspace: Workspace, pairs: Sequence[Synonym]) -> dict[str, Any]:
    """Add pairs to the file of a workspace; its existing pairs are not changed.

    Raises:
        DataError: a line of the file is wrong.
        StorageError: another process is changing the file.
    """
    written, rows = add_synonyms(workspace.synonyms, pairs)
    states = dict(Counter(row.state for row in rows))
    return {"written": written, "states": states, "out": str(workspace.synonyms)}


def propose_from_log(requests: Sequence[LoggedRequest]) -> list[Synonym]:
    """Pairs of queries after which the same items were chosen, in both directions.

    Only queries of at most ``MOST_WORDS`` words, by at least ``MIN_USERS`` people and without a
    private spelling. Prefixes after which a user took a suggested title are left out. The
    confidence is the cosine of the counts of chosen items.
    """
    private = private_keys(request.text for request in requests)
    users: dict[str, set[str]] = defaultdict(set)
    chosen: dict[str, Counter[int]] = defaultdict(Counter)
    for request in requests:
        text = normalise(request.text)
        if request.surface == SUGGESTED or text in private or not len(request.chosen):
            continue
        if 0 < len(words(text)) <= MOST_WORDS:
            users[text].add(request.user_id)
            chosen[text].update(request.chosen.tolist())
    texts = sorted(text for text, ids in users.items() if len(count_people(ids)) >= MIN_USERS)
    if not texts:
        return []
    starts = np.cumsum([0, *(len(chosen[text]) for text in texts)])
    counts = [np.array([*chosen[text].values()], np.float64) for text in texts]
    shares = np.concatenate([count / np.linalg.norm(count) for count in counts])
    unit = csr_array((shares, [item for text in texts for item in chosen[text]], starts))
    cosines = (unit @ unit.T).tocoo()
    pairs = zip(*(numbers.tolist() for numbers in (*cosines.coords, cosines.data)), strict=True)
    return [
        Synonym(texts[term], texts[also], "proposed", min(cosine, 1.0), "log")
        for term, also, cosine in sorted(pairs)
        if term != also and cosine >= MIN_COSINE
    ]


def is_minable(word: str, count: int) -> bool:
    """True if a catalogue word is worth mining synonyms for: letters only, long, not rare."""
    return word.isalpha() and len(word) >= MIN_LETTERS and count >= MIN_ITEMS
