"""What a labeller is told of a user's attributes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from small_shop import NUM_USERS, import_shop

from serendip.data.dataset import UserCountries
from serendip.data.items.catalogue import Catalogue, Item
from serendip.data.users.groups import Groups
from serendip.jobs.context import JobContext
from serendip.jobs.labels.draw_lists import find_tellable_values

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
