from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from serendip.data.items.semantic_ids import Codebooks
from serendip.jobs.semantic_ids.build import extend_items
from serendip.jobs.semantic_ids.versions import CodedItems

BOOKS = Codebooks(np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32))
NOTHING = CodedItems(
    (),
    np.empty((0, 2), np.int32),
    np.empty(0, np.int32),
    np.empty(0, np.uint64),
    np.empty(0, np.bool_),
)
CATALOGUES = st.lists(
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 5), max_size=8), max_size=5
)
"""Item id -> which content it has, at some moments."""


@settings(max_examples=60, deadline=None)
@given(CATALOGUES)
def test_ids_of_unchanged_items_stay_and_all_ids_are_unique(moments) -> None:
    contents = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
    items, last = NOTHING, {}
    for moment in moments:
        before = {
            name: (*codes, place)
            for name, codes, place in zip(
                items.ids, items.codes.tolist(), items.places.tolist(), strict=True
            )
        }
        content = contents[list(moment.values())].reshape(-1, 4)
        items, facts = extend_items(items, tuple(moment), content, BOOKS)
        after = {
            name: (*codes, place)
            for name, codes, place in zip(
                items.ids, items.codes.tolist(), items.places.tolist(), strict=True
            )
        }
        assert facts["new"] == len(set(moment) - set(before))
        assert len(set(after.values())) == len(after) == len({*before, *moment})
        for name, full in before.items():
            if moment.get(name, last[name]) == last[name]:
                assert after[name] == full
        for name, kind in moment.items():
            assert after[name][:2] == tuple(BOOKS.assign(contents[[kind]])[0].tolist())
        listed = {n for n, here in zip(items.ids, items.listed, strict=True) if here}
        assert listed == set(moment)
        last.update(moment)
