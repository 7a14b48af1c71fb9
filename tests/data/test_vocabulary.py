import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.vocabulary import MISSING, Vocabulary
from serendip.errors import DataError

IDS = st.lists(st.text(max_size=5), unique=True, max_size=10)


@given(IDS)
def test_ids_and_numbers_go_round(ids):
    vocabulary = Vocabulary(ids)
    assert vocabulary.numbers(ids).tolist() == list(range(len(ids)))
    assert vocabulary.ids_of(vocabulary.numbers(ids)) == ids
    assert list(vocabulary.ids) == ids
    assert all(name in vocabulary for name in ids)


@given(IDS, st.lists(st.text(max_size=5), max_size=10))
def test_unknown_ids_are_numbered_minus_one_in_their_place(ids, asked):
    numbers = Vocabulary(ids).numbers(asked).tolist()
    assert numbers == [ids.index(name) if name in ids else MISSING for name in asked]


def test_an_id_that_appears_twice_is_named():
    with pytest.raises(DataError, match="'b' appears twice"):
        Vocabulary(["a", "b", "c", "b", "a"])


def test_extending_keeps_old_numbers_and_equal_ids_are_equal():
    old = Vocabulary(["a", "b"])
    new = old.extended(["c"])
    assert (new.ids, old.ids) == (("a", "b", "c"), ("a", "b"))
    assert new.number("c") == 2 and old.number("c") == MISSING
    with pytest.raises(DataError):
        old.extended(["a"])

    assert Vocabulary("ab") == Vocabulary("ab")
    assert hash(Vocabulary("ab")) == hash(Vocabulary("ab"))
    assert Vocabulary("ab") != Vocabulary("ba")
    assert Vocabulary("ab") != ("a", "b")
