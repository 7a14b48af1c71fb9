import pytest

from serendip.data.privacy import VISITOR, count_people, holds_address, is_plain, private_keys


def test_people_are_told_apart_by_ids_that_they_brought():
    assert count_people(["a", "b", "a", f"{VISITOR}1", f"{VISITOR}2", "visitor"]) == {
        "a",
        "b",
        "visitor",
    }


def test_a_normal_form_is_private_where_any_of_its_spellings_is():
    texts = ["ann example com", "Ann@example.com", "heist", "555 010 9999", "1999 2000 2001"]
    films = ["2001 a space odyssey", "blade runner 2049"]
    private = {"ann example com", "555 010 9999", "1999 2000 2001"}
    assert private_keys([*texts, *films, "ann\uff20example.com"]) == private


@pytest.mark.parametrize(
    "text",
    ["https://a", "at www.evil.example", "me@evil", "buy on evil.com", "Evil.ORG", "evil\uff0ecom"],
)
def test_what_leads_somewhere_is_an_address(text):
    assert holds_address(text)
    assert not holds_address("dot com bubble, a: b")


def test_signs_of_markup_and_signs_that_nobody_sees_are_not_plain():
    assert is_plain("café & bar,\n9 pm")
    assert not any(map(is_plain, ["<b>", "{title}", "a\u202eb", "a\u0000"]))
