"""Append-only collections: every snapshot has its own entries and no newer ones."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from serendip.data.rows.append_log import GrowingCounter, GrowingSet, ItemLog

WORDS = st.lists(st.lists(st.sampled_from("abcd"), max_size=3), max_size=6)


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 3), st.text(max_size=2)), max_size=3), max_size=6)
)
def test_the_newest_value_of_an_item_counts(steps) -> None:
    log, expected = ItemLog[str](), dict[int, str]()
    snapshots = [(log, dict(expected), 0)]
    for entries in steps:
        log = log.with_values([item for item, _ in entries], [value for _, value in entries])
        expected.update(entries)
        snapshots.append((log, dict(expected), snapshots[-1][2] + len(entries)))
    for log, newest, size in snapshots:
        assert {item: log.get(item) for item in range(4)} == {
            item: newest.get(item) for item in range(4)
        }
        assert len(log) == len(log.numbers) == len(log.values) == size


@given(WORDS)
def test_sets_and_counters_grow_without_changing_older_ones(steps) -> None:
    strings, counter, all_words = GrowingSet(), GrowingCounter(), list[str]()
    snapshots = [(strings, counter, list(all_words))]
    for words in steps:
        strings, counter = strings.with_strings(words), counter.with_strings(words)
        all_words += words
        snapshots.append((strings, counter, list(all_words)))
    for strings, counter, words in snapshots:
        assert {word for word in "abcd" if word in strings} == set(words)
        assert {word: counter[word] for word in "abcd"} == {
            word: Counter(words)[word] for word in "abcd"
        }
        assert len(strings) == len(set(words))


def test_two_snapshots_of_one_collection_do_not_see_each_other() -> None:
    log = ItemLog[str]().with_values([1], ["a"])
    assert log.with_values([1], ["b"]).get(1) == "b"
    assert log.with_values([2], ["c"]).get(1) == log.get(1) == "a"
    strings, counter = GrowingSet().with_strings("a"), GrowingCounter().with_strings("a")
    assert "b" in strings.with_strings("b") and "b" not in strings.with_strings("c")
    assert counter.with_strings("a")["a"] == 2
    assert counter.with_strings("b")["a"] == 1
