from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_shop import NUM_USERS, import_shop

from serendip.data.dataset import UserCountries
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.users.user import Groups
from serendip.errors import DataError
from serendip.jobs.context import JobContext
from serendip.jobs.labels.draw_lists import find_tellable_values
from serendip.jobs.labels.pair_files import (
    ListRequest,
    describe_request,
    is_lists_file,
    read_lists,
    read_pairs,
    write_lists,
)


@pytest.mark.parametrize(
    ("text", "titles", "attributes", "words"),
    [
        ("", ["Heat", "Alien"], {}, 'Somebody who chose "Heat"; "Alien"'),
        ("", ["Heat"], {"country": "KR"}, 'Somebody who chose "Heat" (country: KR)'),
        ("red shoes", [], {}, '"red shoes", typed by somebody'),
        (
            "shoes",
            ["Boot"],
            {"b": "2", "a": "1"},
            '"shoes", typed by somebody who chose "Boot" (a: 1, b: 2)',
        ),
        ("", ["A  long\n title " + "x" * 60], {}, f'Somebody who chose "A long title {"x" * 36}…"'),
    ],
)
def test_a_request_in_words(text, titles, attributes, words) -> None:
    assert describe_request(text, titles, attributes) == words


def test_lists_are_read_as_they_were_written_and_as_pairs(tmp_path: Path) -> None:
    path = tmp_path / "lists.csv"
    home = ListRequest('Somebody who chose "a; b"', "", ("i, 1", '["]'), {"country": "KR"})
    other = ListRequest("Somebody", "", (), {})
    write_lists(path, "digest", [(home, ["x", "y"]), (other, ["y"])])
    lists = read_lists(path)
    assert (lists.surface, lists.requests) == ("digest", {home.query: home, other.query: other})
    assert lists.places == {(home.query, "x"): 0, (home.query, "y"): 1, (other.query, "y"): 0}
    assert read_pairs(path) == [*lists.places]
    assert is_lists_file(path)


def test_what_is_no_file_of_lists_of_one_surface_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("query,item_id\nred shoes,i1\n")
    assert not is_lists_file(path)
    with pytest.raises(DataError, match="no column 'surface'"):
        read_lists(path)

    path = tmp_path / "lists.csv"
    head = "query,item_id,surface,text,past,attributes\n"
    path.write_text(f"{head}a,i1,home,,[],{{}}\nb,i1,digest,,[],{{}}\n")
    with pytest.raises(DataError, match="lists of 2 surfaces"):
        read_lists(path)
    path.write_text(f"{head}a,i1,home,,i1,{{}}\n")
    with pytest.raises(DataError, match="the past or the attributes of 'a' cannot be read"):
        read_lists(path)


def test_requests_with_one_text_say_much_the_same() -> None:
    one, other = (ListRequest(words, "Red  shoes") for words in ("a", "b"))
    assert one.group == other.group == "red shoes"
    assert ListRequest("Somebody A").group != ListRequest("Somebody B").group
    assert ListRequest.of_text("Red shoes").group == one.group


ADDRESS = "jane.doe@home.org, 5 Elm St, +1 555 0100 200"


def groups(*counts: tuple[str, int]) -> Groups:
    """Values with the number of the users who have each, in their order; the others have none."""
    of_users = np.full(NUM_USERS, -1, np.int32)
    begin = 0
    for row, (_, count) in enumerate(counts):
        of_users[begin : begin + count] = row
        begin += count
    return Groups(tuple(name for name, _ in counts), of_users)


def test_only_values_that_items_and_enough_people_have_are_told(tmp_path: Path) -> None:
    dataset = JobContext.open(import_shop(tmp_path)).dataset
    cities = ("Oslo", "Rome", "Bonn", ADDRESS)
    items = [
        Item(f"c{row}", "A tale", attributes={"city": city, "country": "KR"})
        for row, city in enumerate(cities)
        if city != "Bonn"
    ]
    city = groups(("Oslo", 5), ("Rome", 4), ("Bonn", 6), (ADDRESS, 7))
    country = groups(("KR", 5), ("NO", 20))
    asked = replace(
        dataset,
        user_groups={"city": city, "plan": groups(("gold", 20))},
        countries=UserCountries(country.names, country.of_users),
    )
    told = find_tellable_values(asked, Catalogue(items), 5)
    # Four people are of Rome, no item is of Bonn or NO, no item has a plan, and one value is an
    # address although people and an item have it.
    assert told == {"city": {"Oslo"}, "country": {"KR"}}
    assert find_tellable_values(asked, Catalogue(items), 4)["city"] == {"Oslo", "Rome"}


def test_generated_visitors_are_no_people(tmp_path: Path) -> None:
    dataset = JobContext.open(import_shop(tmp_path)).dataset
    ids = dataset.users.ids_of(np.arange(NUM_USERS, dtype=np.int32))
    visitors = type(dataset.users)([f"visitor-{user}" for user in ids])
    asked = replace(dataset, users=visitors, user_groups={"city": groups(("Oslo", 9))})
    items = Catalogue([Item("c", "A tale", attributes={"city": "Oslo"})])
    assert find_tellable_values(asked, items, 1) == {"city": frozenset()}
