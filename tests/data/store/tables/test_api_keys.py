from collections.abc import Iterator
from contextlib import closing

import pytest
from postgres_server import StorePlace

from serendip.data.api_key import SCOPES, issue_key, read_key_id
from serendip.data.store.tables.api_keys import ApiKeys
from serendip.errors import DataError


@pytest.fixture
def keys(place: StorePlace) -> Iterator[ApiKeys]:
    place.create().close()
    with closing(ApiKeys.open(place.place)) as keys:
        yield keys


def test_a_key_is_read_back_without_its_text(keys):
    issued = issue_key("shop", ["write", "read"], lifetime_s=10, now=5.0)
    keys.add(issued)
    (key,) = keys.read().keys.values()
    assert key == issued.key
    assert (key.name, key.scopes, key.expires) == ("shop", {"read", "write"}, 15.0)
    assert key.matches(issued.text)
    assert not key.matches(issued.text[:-1])
    assert not key.matches("")


def test_the_text_is_nowhere_in_the_files_of_the_workspace(keys, place):
    issued = issue_key("shop", SCOPES)
    keys.add(issued)
    # the secret may hold "_" too: it is what follows the id
    secret = issued.text.partition(f"{issued.key.key_id}_")[2].encode()
    assert place.has_bytes(issued.key.key_id.encode())
    assert not place.has_bytes(secret)
    assert issued.text not in repr(issued)
    assert issued.key.hash not in repr(issued.key)


@pytest.mark.parametrize(
    "text",
    ["", "serendip", "serendip_ab", "serendip_ab_", "other_ab_c", "serendip_ab_" + "x" * 120],
)
def test_what_is_no_key_has_no_id(text):
    assert read_key_id(text) == ""


def test_an_unknown_key_is_named_with_the_next_step(keys):
    with pytest.raises(DataError, match=r"no key 'zz'.*keys list"):
        keys.revoke("zz", 1.0)


@pytest.mark.parametrize(
    ("name", "scopes", "message"),
    [
        ("", ["root"], r"scope 'root' is unknown.*read, write, read:users, admin"),
        ("", [], "allows nothing"),
        ("a\nb", ["read"], "not a line"),
        ("x" * 101, ["read"], "not a line"),
    ],
)
def test_wrong_rights_and_names_are_refused(name, scopes, message):
    with pytest.raises(DataError, match=message):
        issue_key(name, scopes)
