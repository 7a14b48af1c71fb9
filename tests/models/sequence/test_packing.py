import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.query import History, Query
from serendip.models.sequence.packing import Sequences, batches, batches_in_order, pack
from serendip.testing import build_small_world

LENGTHS = st.lists(st.integers(0, 30), min_size=1, max_size=20)


def sequences_of(lengths: list[int]) -> Sequences:
    """Sequence s holds the items 100 s, 100 s + 1, ..."""
    items = [100 * number + place for number, size in enumerate(lengths) for place in range(size)]
    sizes = np.asarray(lengths, np.int64)
    return Sequences(np.asarray(items, np.int64), np.cumsum(sizes) - sizes, sizes)


def items_of(sequences: Sequences) -> list[list[int]]:
    return [
        sequences.items[start : start + length].tolist()
        for start, length in zip(sequences.starts, sequences.lengths, strict=True)
    ]


def test_sequences_of_users_and_queries_are_their_known_items() -> None:
    dataset = build_small_world()
    found = items_of(Sequences.of_users(dataset.events, dataset.num_users))
    assert found == [dataset.history(user).item_nums.tolist() for user in range(12)]

    history = History.of_items(np.asarray([4, -1, 2, 9], np.int32))
    source = np.asarray([7, 3], np.int32)
    queries = [Query(history=history), Query(), Query(history=history, source_items=source)]
    assert items_of(Sequences.of_queries(queries, 9)) == [[4, 2], [], [7, 3]]
    assert items_of(Sequences.of_queries(queries[:1], 10).last(2)) == [[2, 9]]
    sequences = sequences_of([3, 0, 2])
    assert items_of(sequences.without_last(np.asarray([0, 2]))) == [[0, 1], [], [200]]


@given(LENGTHS, st.integers(1, 12), st.integers(0, 5))
def test_windows_hold_every_event_with_a_successor_once(
    lengths: list[int], most: int, seed: int
) -> None:
    sequences = sequences_of(lengths)
    found = items_of(sequences.windows(most, np.random.default_rng(seed)))
    events = [item for row in found for item in row]
    expected = [item for row in items_of(sequences) for item in row[:-1]]
    assert sorted(events) == sorted(expected)
    assert all(1 <= len(row) <= most for row in found)
    assert all((np.diff(row) == 1).all() for row in found)


@given(LENGTHS)
def test_packed_sequences_stand_whole_in_blocks_of_one_length(lengths: list[int]) -> None:
    sequences = sequences_of(lengths)
    rows = np.flatnonzero(sequences.lengths)[::-1]
    packed = pack(sequences, rows)
    line = sequences.items[packed.events]
    assert sorted(packed.rows.tolist()) == sorted(rows.tolist())
    found = [
        row.tolist()
        for first, count, length in packed.blocks
        for row in line[first : first + count * length].reshape(count, length)
    ]
    assert found == [items_of(sequences)[row] for row in packed.rows.tolist()]
    assert line[packed.last].tolist() == [row[-1] for row in found]


@given(LENGTHS, st.integers(1, 40))
def test_batches_hold_every_sequence_once(lengths: list[int], size: int) -> None:
    sequences = sequences_of(lengths)
    filled = np.flatnonzero(sequences.lengths).tolist()
    drawn = list(batches(sequences, size, np.random.default_rng(0)))
    assert sorted(row for batch in drawn for row in batch.rows.tolist()) == filled
    everything = np.arange(len(lengths), dtype=np.int32)
    straight = list(batches_in_order(sequences, everything, 3))
    assert sorted(row for batch in straight for row in batch.rows.tolist()) == filled
    assert all(len(batch.rows) <= 3 for batch in straight)


def test_batches_are_about_as_large_as_asked() -> None:
    sizes = [
        len(batch.events)
        for batch in batches(sequences_of([5] * 100), 50, np.random.default_rng(0))
    ]
    assert sizes == [50] * 10
