"""The keys in memory: what finds one, when they are read again, what is signed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from serendip.data.api_key import ApiKey, IssuedKey, issue_key
from serendip.data.store.tables.api_keys import KeySnapshot
from serendip.errors import StorageError
from serendip.serve.access import KeyRing


@dataclass
class Source:
    """Keys in memory, that can fail."""

    keys: dict[str, ApiKey] = field(default_factory=dict)
    secret: bytes = b"s" * 32
    commit: int | None = 0
    reads: int = 0
    failure: str = ""
    ended: Counter[str] = field(default_factory=Counter)

    def end_sessions(self, key_id: str) -> None:
        self.ended[key_id] += 1
        self.commit = (self.commit or 0) + 1

    def commit_number(self) -> int | None:
        return self.commit

    def read(self) -> KeySnapshot:
        if self.failure:
            raise StorageError(self.failure)
        self.reads += 1
        return KeySnapshot(dict(self.keys), self.secret, dict(self.ended))

    def close(self) -> None:
        self.failure = "closed"


def opened(*issued: IssuedKey) -> tuple[KeyRing, Source]:
    source = Source({one.key.key_id: one.key for one in issued})
    ring = KeyRing(source)
    ring.load()
    return ring, source


def test_a_key_is_found_by_its_text_alone():
    one, other = issue_key("", ["read"]), issue_key("", ["read"])
    ring, _ = opened(one, other)
    assert [ring.find(issued.text) for issued in (one, other)] == [one.key, other.key]
    mixed = f"serendip_{one.key.key_id}_{other.text.rpartition('_')[2]}"
    unknown = issue_key("", ["read"]).text
    wrong = [one.text[:-1], f"{one.text}x", mixed, unknown, "", "x" * 10_000, "\ud800"]
    assert [ring.find(text) for text in wrong] == [None] * len(wrong)


def test_keys_are_read_again_only_after_a_commit():
    issued = issue_key("", ["read"])
    ring, source = opened(issued)
    ring.load()
    assert source.reads == 1
    source.keys[issued.key.key_id] = replace(source.keys[issued.key.key_id], revoked=5.0)
    source.commit = 1
    ring.load()
    key = ring.find(issued.text)
    assert key is not None
    assert (source.reads, key.state(6.0)) == (2, "revoked")
    source.commit = None  # unknown: read every time
    ring.load()
    assert source.reads == 3


def test_a_failure_leaves_the_keys():
    issued = issue_key("", ["read"])
    ring, source = opened(issued)
    source.commit, source.failure = 1, "the disk is gone."
    with pytest.raises(StorageError, match="disk is gone"):
        ring.load()
    assert ring.find(issued.text) is not None
    source.failure, source.keys = "", {}
    ring.load()
    assert ring.find(issued.text) is None


def test_it_is_open_without_any_key_and_only_for_this_machine():
    assert KeyRing().is_open
    assert not KeyRing(is_reachable=True).is_open
    ring, source = opened()
    assert ring.is_open
    key = issue_key("", ["read"], now=0.0).key
    source.keys, source.commit = {key.key_id: replace(key, revoked=1.0)}, 1
    ring.load()
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


def test_sessions_of_a_key_end_together_in_every_worker():
    one, other = issue_key("", ["admin"]), issue_key("", ["admin"])
    ring, source = opened(one, other)
    beside = KeyRing(source)
    beside.load()
    sessions = [ring.begin_session(issued.key) for issued in (one, one, other)]
    assert [beside.find_session(session) for session in sessions] == [one.key, one.key, other.key]
    ring.end_sessions(one.key)
    beside.load()
    for each in (ring, beside):
        assert [each.find_session(session) for session in sessions] == [None, None, other.key]
    assert ring.find_session(ring.begin_session(one.key)) == one.key


def test_a_session_needs_the_secret_file_and_not_the_database_alone(tmp_path: Path):
    issued = issue_key("", ["admin"])
    source = Source({issued.key.key_id: issued.key})
    path = tmp_path / "secret"
    rings = [KeyRing(source, secret_file=path) for _ in range(2)]
    for ring in rings:
        ring.load()
    session = rings[0].begin_session(issued.key)
    assert rings[1].find_session(session) == issued.key
    assert path.stat().st_mode & 0o777 == 0o600
    for secret_file in (None, tmp_path / "another"):
        thief = KeyRing(source, secret_file=secret_file)
        thief.load()
        assert rings[0].find_session(thief.begin_session(issued.key)) is None


def test_where_no_file_can_be_made_sessions_last_as_long_as_the_process(tmp_path: Path, caplog):
    issued = issue_key("", ["admin"])
    source = Source({issued.key.key_id: issued.key})
    ring = KeyRing(source, secret_file=tmp_path / "nowhere" / "secret")
    ring.load()
    session = ring.begin_session(issued.key)
    source.commit = 7
    ring.load()
    assert ring.find_session(session) == issued.key
    assert "cannot be made" in caplog.text
