import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.arrays import first_rows

ROWS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([-np.inf, 0.0, 1.0, np.inf])))


@given(ROWS, st.integers(1, 40))
def test_they_are_the_beginning_of_the_whole_order(
    rows: list[tuple[int, float]], most: int
) -> None:
    table = np.array(rows, np.float64).reshape(len(rows), 2)
    whole = np.lexsort((table[:, 1], table[:, 0]))
    assert first_rows(most, table[:, 0], table[:, 1]).tolist() == whole[:most].tolist()
