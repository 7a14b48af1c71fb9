"""The keys in memory: what is compared, when they are read again, what is signed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from serendip.data.api_key import ApiKey, IssuedKey, issue_key
from serendip.data.store.tables.api_keys import KeySnapshot
from serendip.errors import RateLimitError, StorageError
from serendip.serve.key_ring import KeyRing


@dataclass
class Source:
    """Keys in memory, that can fail."""

    keys: dict[str, ApiKey] = field(default_factory=dict)
    secret: bytes = b"s" * 32
    commit: int | None = 0
    reads: int = 0
    failure: str = ""

    def commit_number(self) -> int | None:
        return self.commit

    def read(self) -> KeySnapshot:
        if self.failure:
            raise StorageError(self.failure)
        self.reads += 1
        return KeySnapshot(dict(self.keys), self.secret)

    def close(self) -> None:
        self.failure = "closed"


COMPARED: list[str] = []


class CountedKey(ApiKey):
    """Notes every comparison with its hash."""

    __slots__ = ()

    def matches(self, text: str) -> bool:
        COMPARED.append(text)
        return super().matches(text)


def counted(key: ApiKey) -> CountedKey:
    values = {name: getattr(key, name) for name in ApiKey.__dataclass_fields__}
    return CountedKey(**values)


def opened(*issued: IssuedKey) -> tuple[KeyRing, Source]:
    COMPARED.clear()
    source = Source({one.key.key_id: counted(one.key) for one in issued})
    ring = KeyRing(source)
    ring.load()
    return ring, source


def find_all(ring: KeyRing, texts: Sequence[str]) -> list[ApiKey | None]:
    async def ask() -> list[ApiKey | None]:
        return [await ring.find(text) for text in texts]

    return asyncio.run(ask())


def test_the_slow_hash_is_computed_for_the_first_request_only():
    one, other = issue_key("", ["read"]), issue_key("", ["read"])
    ring, _ = opened(one, other)
    found = find_all(ring, [one.text, one.text, other.text, one.text])
    assert [key.key_id for key in found] == [
        *(one.key.key_id, one.key.key_id, other.key.key_id, one.key.key_id)
    ]
    assert COMPARED == [one.text, other.text]


def test_no_wrong_text_is_compared_twice_and_none_of_an_unknown_id_at_all():
    issued = issue_key("", ["read"])
    ring, _ = opened(issued)
    wrong, unknown = issued.text[:-1], issue_key("", ["read"]).text
    assert find_all(ring, [wrong, unknown, wrong, "", "x" * 10_000, "\ud800"]) == [None] * 6
    assert COMPARED == [wrong]


def test_too_many_comparisons_at_once_are_refused_and_known_keys_go_on():
    known, new = issue_key("", ["read"]), issue_key("", ["read"])
    ring, _ = opened(known, new)
    blocked = threading.Event()

    async def ask() -> tuple[list[object], ApiKey | None]:
        await ring.find(known.text)
        ring._checker.submit(blocked.wait)
        wrong = [asyncio.create_task(ring.find(f"{new.text}{n}", f"{n}")) for n in range(9)]
        done, _ = await asyncio.wait(wrong, return_when=asyncio.FIRST_COMPLETED)
        found = await ring.find(known.text)
        blocked.set()
        return [task.exception() for task in done], found

    errors, found = asyncio.run(ask())
    assert [type(error) for error in errors] == [RateLimitError]
    assert found is not None
    assert found.key_id == known.key.key_id


def test_requests_with_the_same_text_wait_for_one_comparison():
    issued = issue_key("", ["read"])
    ring, _ = opened(issued)
    wrong = issued.text[:-1]

    async def ask() -> list[ApiKey | None]:
        return await asyncio.gather(*(ring.find(text) for text in [issued.text, wrong] * 50))

    found = asyncio.run(ask())
    assert [key and key.key_id for key in found] == [issued.key.key_id, None] * 50
    assert sorted(COMPARED) == sorted([issued.text, wrong])
    assert (ring._comparing, ring._waiting) == ({}, {})


def test_a_request_that_is_given_up_ends_the_comparison_for_no_other():
    issued = issue_key("", ["read"])
    ring, _ = opened(issued)

    async def ask() -> ApiKey | None:
        first, second = (asyncio.create_task(ring.find(issued.text)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    assert asyncio.run(ask()) is not None


def test_one_sender_leaves_room_for_the_texts_of_others():
    one, other = issue_key("", ["read"]), issue_key("", ["read"])
    ring, _ = opened(one, other)

    async def ask() -> tuple[list[object], ApiKey | None]:
        wrong = [ring.find(f"{one.text}{n}", "address a") for n in range(8)]
        flood = asyncio.gather(*wrong, return_exceptions=True)
        await asyncio.sleep(0)
        found = await ring.find(other.text, "address b")
        return [type(error) for error in await flood], found

    errors, found = asyncio.run(ask())
    assert errors == [type(None)] * 4 + [RateLimitError] * 4
    assert found is not None


def test_keys_are_read_again_only_after_a_commit():
    issued = issue_key("", ["read"])
    ring, source = opened(issued)
    ring.refresh()
    assert source.reads == 1
    source.keys[issued.key.key_id] = replace(source.keys[issued.key.key_id], revoked=5.0)
    source.commit = 1
    ring.refresh()
    (key,) = find_all(ring, [issued.text])
    assert (source.reads, key.state(6.0)) == (2, "revoked")
    source.commit = None  # unknown: read every time
    ring.refresh()
    assert source.reads == 3


def test_a_failure_leaves_the_keys_and_is_logged_once(caplog):
    issued = issue_key("", ["read"])
    ring, source = opened(issued)
    source.commit, source.failure = 1, "the disk is gone."
    ring.refresh()
    ring.refresh()
    assert find_all(ring, [issued.text])[0] is not None
    assert len(caplog.records) == 1
    source.failure, source.keys = "", {}
    ring.refresh()
    assert find_all(ring, [issued.text]) == [None]


def test_keys_that_cannot_be_read_at_the_start_end_it():
    ring = KeyRing(Source(failure="the disk is gone."))
    with pytest.raises(StorageError, match="disk is gone"):
        ring.load()


def test_it_is_open_without_any_key_and_only_for_this_machine():
    assert KeyRing().is_open
    assert not KeyRing(is_reachable=True).is_open
    ring, source = opened()
    assert ring.is_open
    key = issue_key("", ["read"], now=0.0).key
    source.keys, source.commit = {key.key_id: replace(key, revoked=1.0)}, 1
    ring.refresh()
    assert not ring.is_open


def test_what_is_signed_is_read_for_the_same_purpose_and_unchanged_only():
    ring, source = opened()
    signed = ring.sign("visitor", "visitor-1")
    assert ring.read_signed("visitor", signed) == "visitor-1"
    assert ring.read_signed("session", signed) == ""
    for place in range(len(signed)):
        changed = signed[:place] + ("x" if signed[place] != "x" else "y") + signed[place + 1 :]
        assert ring.read_signed("visitor", changed) == ""
    other = KeyRing(Source(secret=b"t" * 32))
    other.load()
    same = KeyRing(source)
    same.load()
    assert other.read_signed("visitor", signed) == ""
    assert same.read_signed("visitor", signed) == "visitor-1"
    assert KeyRing().read_signed("visitor", signed) == ""


@pytest.mark.parametrize("value", ["", ".", "a", "a.", ".a", "é.é", "a.b.c"])
def test_what_nobody_signed_is_nothing(value):
    ring, _ = opened()
    assert ring.read_signed("visitor", value) == ""


def test_another_secret_ends_what_was_known():
    issued = issue_key("", ["read"])
    ring, source = opened(issued)
    find_all(ring, [issued.text])
    source.secret, source.commit = b"t" * 32, 1
    ring.refresh()
    assert find_all(ring, [issued.text])[0] is not None
    assert COMPARED == [issued.text] * 2
