from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serendip.config import validate
from serendip.data import Catalogue, Dataset, Item, Query
from serendip.data.dataset import UserCountries
from serendip.data.users.user import Groups
from serendip.errors import ConfigError
from serendip.models.context_counts import (
    ITEM_COUNTRIES,
    PRIOR_EVENTS,
    ContextConfig,
    ContextCounts,
    FieldCounts,
)
from serendip.testing import build_small_world

NAMES = ("France", "Spain")
# France: item 0 three times, item 1 once; Spain: item 1 twice. Item 2 has no event.
VALUES = np.array([0, 0, 0, 0, 1, 1, -1], np.int32)
ITEMS = np.array([0, 0, 0, 1, 1, 1, 0], np.int32)
CATEGORIES = np.array([0, 1, 0], np.int32)


def counts() -> FieldCounts:
    found = FieldCounts.of(VALUES, ITEMS, NAMES, CATEGORIES)
    assert found is not None
    return found


def test_the_fit_is_shrunk_to_the_category_and_later_ones_are_as_everywhere():
    share, prior = 4 / 6, PRIOR_EVENTS
    of_category = np.array([(3 + prior * share) / (3 + prior), (1 + prior * share) / (3 + prior)])
    own = [(3 + prior * of_category[0]) / (3 + prior), (1 + prior * of_category[1]) / (3 + prior)]
    expected = np.log(np.array([*own, of_category[0]]) / share)
    fit = counts().fit_of(0, np.arange(3, dtype=np.int32), CATEGORIES)
    np.testing.assert_allclose(fit, expected, rtol=1e-6)
    assert fit[0] > fit[2] > 0 > fit[1]  # a new item has the fit of its category
    fit = counts().fit_of(1, np.array([3], np.int32), np.array([7], np.int32))
    np.testing.assert_allclose(fit, [0.0], atol=1e-7)


@given(st.integers(0, 2**32 - 1))
def test_counts_are_those_of_a_scan(seed):
    rng = np.random.default_rng(seed)
    values, items = rng.integers(-1, 3, 60), rng.integers(0, 9, 60)
    found = FieldCounts.of(
        values.astype(np.int32), items.astype(np.int32), "abc", np.zeros(9, np.int32)
    )
    for name in found.names:
        value = "abc".index(name)
        scanned = [int(((values == value) & (items == item)).sum()) for item in range(9)]
        number = found.number(name)
        assert found.counts_of(number, np.arange(9, dtype=np.int32)).tolist() == scanned
        shown = [scanned[item] for item in found.top_of(number)]
        assert shown == sorted((count for count in scanned if count), reverse=True)


@pytest.mark.parametrize("values", [[-1] * 7, [0] * 7, [0] * 6 + [-1]])
def test_a_field_with_one_value_or_none_is_not_read(values):
    assert FieldCounts.of(np.array(values, np.int32), ITEMS, NAMES, CATEGORIES) is None


def world(**changes: object) -> Dataset:
    """Half of the events in each country, a device each; hours of Berlin and of Seoul differ."""
    dataset = build_small_world(num_items=20, num_events=400)
    codes = (np.arange(len(dataset.events)) % 2).astype(np.int32)
    times = 1.7e9 + 3_600.0 * np.arange(len(codes))
    log = replace(dataset.events, countries=codes, devices=codes, timestamps=times)
    homes = UserCountries(("Germany", "Korea"), np.zeros(dataset.num_users, np.int32))
    more = replace(dataset, events=log, device_names=("phone", "tv"), **changes)
    return more.with_countries(homes)


ALL = ContextConfig(
    use="on",
    parts={"user": "off"},
    timezone="Europe/Berlin",
    timezones={"Korea": "Asia/Seoul"},
)


def test_values_of_a_request():
    found = ContextCounts.of(world(), np.zeros((20, 2), np.int32), ALL)
    query = Query(country="Korea", device="tv", time=1_704_067_200.0)  # a Monday, 0:00 UTC
    named = {name: found.fields[name].names[found.value(name, query)] for name in found.fields}
    assert named == {"country": "Korea", "device": "tv", "hour": "9", "weekday": "0"}
    berlin = replace(query, country="")
    assert found.fields["hour"].names[found.value("hour", berlin)] == "1"
    unknown = Query(country="Atlantis", device="watch")
    assert {found.value(name, unknown) for name in found.fields} == {-1}
    assert found.parts == {"session", "category"}  # no item has a price, a country or a time


def test_parts_that_items_have():
    items = [Item(f"i{n}", attributes={"price": 2.0, "country": "Korea"}) for n in range(19)]
    catalogue = Catalogue([*items, Item("i19", available_from=5.0)])
    found = ContextCounts.of(world(catalogue=catalogue), np.zeros((20, 2), np.int32), ALL)
    assert found.parts == {"session", "category", "price", "age", ITEM_COUNTRIES}


def test_nothing_is_read_that_the_settings_do_not_name_or_the_events_lack():
    codes = np.zeros((20, 2), np.int32)
    nothing = ContextCounts.of(world(), codes, ContextConfig(use="off"))
    assert (nothing.fields, nothing.parts) == ({}, frozenset())
    parts = dict.fromkeys(("country", "device", "price", "age"), "on")
    named = ContextConfig(use="off", parts=parts)
    plain = ContextCounts.of(build_small_world(20, 400), codes, named)
    assert (plain.fields, plain.parts) == ({}, frozenset())


def test_parts_that_the_data_lack_know_no_value_and_others_are_left_out(tmp_path: Path):
    codes, items = np.zeros((20, 2), np.int32), np.arange(20, dtype=np.int32)
    found = ContextCounts.of(world(), codes, ALL)
    wanted = {"hour", "session", "price"}
    lacks = ContextCounts(ALL, {name: found.fields[name] for name in ("country", "device")})
    lacks.with_parts(wanted, 20).save(tmp_path / "context")
    opened = ContextCounts.open(tmp_path / "context")
    assert {*opened.fields, *opened.parts} == wanted
    assert opened.value("hour", Query(time=1.7e9)) == -1
    assert opened.fields["hour"].totals.tolist() == [0] * len(items)
    kept = found.with_parts({"device"}, 20)
    assert (list(kept.fields), kept.parts) == (["device"], frozenset())
    assert kept.fields["device"] is found.fields["device"]


def test_attributes_of_users_are_fields(tmp_path: Path):
    """Whatever their names: "a/b" is no folder, and "country" of users is none of them."""
    whole = world()
    half = (np.arange(whole.num_users) % 2).astype(np.int32)
    groups = {"plan": Groups(("free", "paid"), half), "a/b": Groups(("x", "y"), half)}
    lone = Groups(("one",), np.zeros(whole.num_users, np.int32))
    dataset = replace(whole, user_groups={**groups, "lone": lone})
    codes, items = np.zeros((20, 2), np.int32), np.arange(20, dtype=np.int32)
    found = ContextCounts.of(dataset, codes, ContextConfig(use="off", parts={"user": "on"}))
    assert list(found.fields) == ["user plan", "user a/b"]
    assert found.present == ("user",)
    query = Query(user_groups={"plan": "paid", "a/b": "z"})
    value = found.value("user plan", query)
    of_paid = half[dataset.events.users] == 1
    counted = np.bincount(dataset.events.items[of_paid], minlength=20)
    np.testing.assert_array_equal(found.fields["user plan"].counts_of(value, items), counted)
    assert found.value("user a/b", query) == -1
    found.with_parts({"user plan", "user a/b", "user gone"}, 20).save(tmp_path / "context")
    opened = ContextCounts.open(tmp_path / "context")
    assert list(opened.fields) == ["user a/b", "user gone", "user plan"]
    np.testing.assert_array_equal(opened.fields["user plan"].counts_of(value, items), counted)
    assert opened.value("user gone", Query(user_groups={"gone": "x"})) == -1


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"timezone": "Mars/Base"}, "Mars/Base"),
        ({"timezones": {"Korea": "Seoul"}}, "Korea: 'Seoul' is not a time zone"),
        ({"parts": {"moon": "on"}}, "moon"),
    ],
)
def test_a_wrong_setting_is_named(table, problem):
    with pytest.raises(ConfigError, match=problem):
        validate(ContextConfig, table, "[context]")
