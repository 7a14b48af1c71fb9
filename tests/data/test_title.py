import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.data.text import looks_like_library_style, plain_title


@pytest.mark.parametrize(
    ("filed", "spoken", "year"),
    [
        ("Matrix, The (1999)", "The Matrix", 1999.0),
        ("Postman, The (Postino, Il) (1994)", "The Postman (Il Postino)", 1994.0),
        ("Misérables, Les", "Les Misérables", None),
        ("Avventura, L' (1960)", "L'Avventura", 1960.0),
        ("Seven (a.k.a. Se7en) (1995)", "Seven (a.k.a. Se7en)", 1995.0),
        ("Shanghai Triad (a.k.a. Pact, The) (1995)", "Shanghai Triad (a.k.a. The Pact)", 1995.0),
        ("Good, the Bad and the Ugly, The (1966)", "The Good, the Bad and the Ugly", 1966.0),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", 1968.0),
        ("1984 (1984)", "1984", 1984.0),
        ("(500) Days of Summer (2009)", "(500) Days of Summer", 2009.0),
        ("Toy Story", "Toy Story", None),
        ("(1999)", "(1999)", None),
        ("", "", None),
    ],
)
def test_the_library_order_is_undone(filed, spoken, year):
    assert plain_title(filed) == (spoken, year)


@given(st.text())
def test_any_text_has_a_plain_title_and_no_letter_is_lost(text):
    title, year = plain_title(text)
    digits = "" if year is None else str(int(year))
    assert sorted(filter(str.isalnum, title + digits)) == sorted(filter(str.isalnum, text))


def test_a_habit_is_told_from_an_accident():
    assert looks_like_library_style(["Matrix, The (1999)", "Heat (1995)"])
    assert not looks_like_library_style(["Chair, oak", "Table", "Lamp"])
    assert not looks_like_library_style(["Office, The"] + ["Chair"] * 30)
    assert not looks_like_library_style([])
