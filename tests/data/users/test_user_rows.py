"""Rows of users and mappings by user against dictionaries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.users.rows import ByUser, UserRows
from serendip.data.vocabulary import Vocabulary

USERS = st.lists(st.integers(0, 6), max_size=30)


@given(USERS)
def test_the_rows_of_a_user_are_those_of_a_scan(users: list[int]) -> None:
    rows = UserRows(np.array(users, np.int32))
    for user in range(-1, 9):
        expected = [row for row, of in enumerate(users) if of == user]
        assert rows.of(user).tolist() == expected


@given(USERS)
def test_a_mapping_by_user_is_the_dictionary_of_its_values(users: list[int]) -> None:
    ids = Vocabulary(f"u{number}" for number in range(7))
    numbers = np.unique(np.array(users, np.int32))
    found = ByUser(numbers, ids, lambda number: number * 2)
    assert found == {f"u{number}": number * 2 for number in numbers.tolist()}
    assert list(found) == [f"u{number}" for number in numbers.tolist()]
    assert all((f"u{number}" in found) == (number in users) for number in range(8))


def test_a_user_without_a_value_is_a_key_error() -> None:
    found = ByUser(np.array([1], np.int32), Vocabulary(["a", "b"]), str)
    assert found["b"] == "1"
    for unknown in ("a", "c"):
        with pytest.raises(KeyError, match=unknown):
            found[unknown]
