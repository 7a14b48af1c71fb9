"""The JSON parser follows the standard and refuses extensions that Python's parser accepts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.errors import DataError
from serendip.serve.api.strict_json import parse
from serendip.serve.limits import MAX_JSON_DEPTH

plain_text = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), max_size=9)
plain_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | plain_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain_text, inner, max_size=4),
    max_leaves=20,
)


@given(plain_json, st.booleans())
def test_every_proper_value_comes_back_as_it_was(value, ascii_only):
    assert parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"a": 1, "a": 2}', "'a' appears twice"),
        (b"[NaN]", "NaN is not a number of JSON"),
        (b"1e999", "too large"),
        (b"9223372036854775808", "64 bits"),
        (b'{"a": }', "line 1, column 7"),
        (b'"\xc3\x28"', "not UTF-8: byte 1"),
    ],
)
def test_each_refusal_says_what_was_found(body, words):
    with pytest.raises(DataError, match=words):
        parse(body)


def test_a_pair_of_surrogates_is_one_sign():
    assert parse(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_32_levels_are_allowed_and_33_are_not():
    assert parse(b"[" * MAX_JSON_DEPTH + b"]" * MAX_JSON_DEPTH)
    with pytest.raises(DataError, match="32 levels"):
        parse(b"[" * (MAX_JSON_DEPTH + 1) + b"]" * (MAX_JSON_DEPTH + 1))


def test_brackets_inside_of_texts_are_no_levels():
    assert parse(json.dumps("[" * 100).encode()) == "[" * 100
