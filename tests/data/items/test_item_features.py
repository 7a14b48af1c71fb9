from dataclasses import replace

import numpy as np

from serendip.data.items.features import ItemFeatures, Tokens


def features(numbers: list[int], present: list[list[bool]] | None = None) -> ItemFeatures:
    values = np.array(numbers)
    mask = None if present is None else np.array(present, dtype=np.bool_)
    content, codes = values[:, None].astype(np.float32), values[:, None].astype(np.int32)
    return ItemFeatures(content, codes, 9, mask)


def put(before: ItemFeatures, numbers: list[int], new: ItemFeatures) -> ItemFeatures:
    return before.put(np.array(numbers, np.int32), new)


def test_no_mask_beside_a_mask_means_that_all_is_there() -> None:
    some, whole = features([3], [[False, True]]), features([1, 2])
    masks = (put(whole, [2], some).present, put(some, [1, 2], whole).present)
    assert masks[0].tolist() == [[True, True], [True, True], [False, True]]
    assert masks[1].tolist() == [[False, True], [True, True], [True, True]]


def test_late_rows_are_new_or_changed_with_their_words() -> None:
    before = features([1, 2, 3], [[True], [True], [False]])
    after = put(before, [2, 0, 3], features([7, 8, 9], [[True], [False], [False]]))
    assert after.content[:, 0].tolist() == after.codes[:, 0].tolist() == [8, 2, 7, 9]
    assert after.present[:, 0].tolist() == [False, True, True, False]
    assert before.content[:, 0].tolist() == [1, 2, 3]
    assert before.present[:, 0].tolist() == [True, True, False]

    both = replace(features([1, 2]), tokens=words("a", "b c"))
    for changed, counts in (
        (both.rows(np.array([1, 0])), [2, 1]),
        (put(both, [2], replace(features([3]), tokens=words("d e f"))), [1, 2, 3]),
        (put(both, [0], features([3])), [0, 2]),
    ):
        assert changed.tokens.counts.tolist() == counts
    assert put(features([1]), [1, 2], both).tokens is None
    assert features([1]).known_tokens.counts.tolist() == [0]


def words(*texts: str) -> Tokens:
    return Tokens.of_texts(texts)
