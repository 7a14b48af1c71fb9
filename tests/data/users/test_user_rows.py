import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.dataset import UserRows

USERS = st.lists(st.integers(0, 6), max_size=30)


@given(USERS)
def test_the_rows_of_a_user_are_those_of_a_scan(users: list[int]) -> None:
    rows = UserRows(np.array(users, np.int32))
    for user in range(-1, 9):
        expected = [row for row, of in enumerate(users) if of == user]
        assert rows.of(user).tolist() == expected
