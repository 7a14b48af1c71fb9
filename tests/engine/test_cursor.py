import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.engine.request import decode_cursor, encode_cursor
from serendip.errors import DataError


@given(st.integers(0, 10_000))
def test_a_cursor_decodes_to_its_offset(offset: int) -> None:
    assert decode_cursor(encode_cursor(offset)) == offset


def test_the_empty_cursor_is_the_first_page() -> None:
    assert decode_cursor("") == 0


@given(st.text(min_size=1, max_size=20))
def test_any_other_text_is_refused_or_a_valid_offset(text: str) -> None:
    try:
        assert 0 <= decode_cursor(text) <= 10_000
    except DataError as error:
        assert "cursor" in error.message


@pytest.mark.parametrize("offset", [-1, 10_001, 10**18])
def test_offsets_out_of_range_are_refused(offset: int) -> None:
    with pytest.raises(DataError, match="cursor"):
        decode_cursor(encode_cursor(offset))
