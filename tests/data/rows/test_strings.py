import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.rows.strings import StringIndex, Strings

TEXTS = st.lists(st.text(st.characters(codec=None), max_size=6), max_size=12)


@given(TEXTS)
def test_every_string_comes_back(texts) -> None:
    strings = Strings.of(texts)
    assert list(strings) == [strings[row] for row in range(len(texts))] == texts
    assert strings[:2] == texts[:2]
    assert strings.take(reversed(range(len(texts)))) == texts[::-1]


@given(st.sets(st.text(max_size=5), max_size=12), st.text(max_size=5))
def test_an_index_finds_its_strings_and_no_others(texts, other) -> None:
    index = StringIndex.of(Strings.of(texts))
    assert {text: index.find(text) for text in texts} == {
        text: row for row, text in enumerate(texts)
    }
    assert (other in index) == (other in texts)
    assert index.get(other, -1) == index.find(other)


def test_strings_of_one_hash_are_told_apart() -> None:
    assert zlib.crc32(b"plumless") == zlib.crc32(b"buckeroo")
    index = StringIndex.of(Strings.of(["a", "buckeroo", "b"]))
    assert index.find("plumless") == -1
    both = StringIndex.of(Strings.of(["plumless", "buckeroo"]))
    assert (both["plumless"], both["buckeroo"]) == (0, 1)
    with pytest.raises(KeyError):
        both["c"]
