"""A shard of an index on another machine, asked by Arrow Flight, and the form of what is sent.

A question is an action of Flight: one line of JSON and the bytes of arrays. An answer is the bytes
of arrays alone, which costs less than a table of so few rows. The items that may be shown are
mostly a set that many requests share: it is sent once, as a bitmap of the shard's range, and named
by its digest afterwards.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import asdict, astuple, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray, are_within
from serendip.data.items.allowed_items import AllowedItems, ItemSet
from serendip.errors import StorageError
from serendip.models.index.ann_index import FoundItems, SearchPlan
from serendip.models.index.shard_tls import ShardTls

if TYPE_CHECKING:
    from pyarrow.flight import FlightClient

T = TypeVar("T")

TOKEN_VARIABLE = "SERENDIP_SHARD_TOKEN"
"""Variable of the environment with the secret that a service and its shards share."""

UNKNOWN_SET = "unknown set"
"""Refusal of a shard that its client mends."""

PROPOSE, SCORE, KEEP_SET, TELL_STATE = "propose", "score", "keep set", "tell state"
"""What a shard does: the types of its actions."""

TOKEN_HEADER = "authorization"
"""Header of each call, with the hexadecimal digits of the token's bytes."""

_MOST_CALLS = 32
"""Questions to a shard that this process waits for at once; others wait here."""

_CONNECTION_OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # shards are in a network of their own
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 360_000),  # servers refuse pings more often than every 5 minutes
    ("grpc.keepalive_timeout_ms", 10_000),  # and what is sent is confirmed in that time
)
"""A shard that is gone is found again soon; one that vanished without a word is noticed."""

_COUNTS = 8
"""Bytes of two numbers before an answer: of its items, and of its products."""

_MOST_WANTED = 10**7
"""Largest number of items that a question may want."""


def split_question(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The line of a question and the bytes after it.

    Raises:
        ValueError: it is something else.
    """
    line, _, rest = content.partition(b"\n")
    head = json.loads(line)
    if not isinstance(head, dict):
        raise ValueError("no line of JSON")
    return head, rest


def _join_question(head: dict[str, Any], rest: bytes = b"") -> bytes:
    return json.dumps(head).encode() + b"\n" + rest


@dataclass(frozen=True, slots=True)
class ShardQuestion:
    """What a shard is asked.

    Args:
        generation: that answers.
        index: folder of the index in the generation.
        begin: number of the first item of the range that the shard is to have.
        end: number after that of its last item.
        plan: of the search.
        items: digest of the set of items that may be shown; empty = all.
        query: (D,) float32.
        excluded: (E,) int32 further items that may not, numbered from 0 in the range.
    """

    generation: str
    index: str
    begin: int
    end: int
    plan: SearchPlan
    items: str
    query: FloatArray
    excluded: IntArray

    def to_bytes(self) -> bytes:
        """One line of JSON, then the arrays."""
        plan, bounds = list(astuple(self.plan)), [self.begin, self.end]
        texts = {"generation": self.generation, "index": self.index, "items": self.items}
        arrays = self.query.astype("<f4").tobytes() + self.excluded.astype("<i4").tobytes()
        numbers = {"range": bounds, "plan": plan, "size": len(self.query)}
        return _join_question({**texts, **numbers}, arrays)

    @classmethod
    def of(cls, head: dict[str, Any], arrays: bytes) -> ShardQuestion:
        """Read what ``to_bytes`` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        size = 4 * int(head["size"])
        query = np.frombuffer(arrays[:size], "<f4")
        excluded = np.frombuffer(arrays[size:], "<i4").astype(np.int32)
        generation, index, items = (str(head[name]) for name in ("generation", "index", "items"))
        begin, end = map(int, head["range"])
        k, pool, share, all_lists, scored = head["plan"]
        plan = SearchPlan(int(k), int(pool), float(share), bool(all_lists), int(scored))
        if not (0 < plan.k <= _MOST_WANTED and 0 <= plan.scored <= plan.pool <= _MOST_WANTED):
            raise ValueError(f"{plan.k} of {plan.pool} items are wanted, {plan.scored} scored")
        if not 0 < plan.share <= 1:
            raise ValueError(f"a share of {plan.share} is allowed")
        return cls(generation, index, begin, end, plan, items, query, excluded)


@dataclass(frozen=True, slots=True)
class ScoreQuestion:
    """Items whose products a shard is asked for.

    Args:
        generation: that answers.
        index: folder of the index in the generation.
        query: (D,) float32.
        items: (M,) int32 item numbers.
    """

    generation: str
    index: str
    query: FloatArray
    items: IntArray

    def to_bytes(self) -> bytes:
        """One line of JSON, then the arrays."""
        head = {"generation": self.generation, "index": self.index, "size": len(self.query)}
        arrays = self.query.astype("<f4").tobytes() + self.items.astype("<i4").tobytes()
        return _join_question(head, arrays)

    @classmethod
    def of(cls, head: dict[str, Any], arrays: bytes) -> ScoreQuestion:
        """Read what ``to_bytes`` wrote.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        size = 4 * int(head["size"])
        query = np.frombuffer(arrays[:size], "<f4")
        items = np.frombuffer(arrays[size:], "<i4").astype(np.int32)
        return cls(str(head["generation"]), str(head["index"]), query, items)


@dataclass(frozen=True, slots=True)
class ShardState:
    """What a shard has.

    Args:
        part: number of its range, from 0.
        parts: number of ranges.
        generations: names of those that it can answer from.
    """

    part: int
    parts: int
    generations: tuple[str, ...]

    def to_bytes(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def of_bytes(cls, content: bytes) -> ShardState:
        """Read what ``to_bytes`` wrote."""
        found = json.loads(content)
        return cls(int(found["part"]), int(found["parts"]), tuple(map(str, found["generations"])))


class ShardConnection:
    """A connection to one shard, made by the first question: a process may be forked before.

    Args:
        address: ``host:port``.
        tls: encrypts it; None = all that is sent can be read on its way.

    Attributes:
        problem: why the last question was not answered; empty = it was, or none was asked yet.
    """

    def __init__(self, address: str, tls: ShardTls | None = None) -> None:
        self.address, self._tls = address, tls
        self.problem = ""
        token = os.environ.get(TOKEN_VARIABLE, "").encode().hex().encode()
        self._headers = [(TOKEN_HEADER.encode(), token)]
        self._client: FlightClient | None = None
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(_MOST_CALLS, thread_name_prefix="shard-calls")

    def begin(self, call: Callable[[], T], end: float) -> Callable[[], T]:
        """Begin a call in a thread; what is returned waits for what it returns.

        Args:
            call: asks this shard, until ``end`` at most.
            end: moment of ``time.monotonic`` until which it is waited for.

        Raises:
            StorageError: by what is returned: it is late, or the call raises that.
        """
        future = self._threads.submit(call)

        def wait() -> T:
            try:
                return future.result(max(0.0, end - time.monotonic()))
            except FutureTimeoutError:
                future.cancel()
                raise self._failure("it is late") from None

        return wait

    def ask(self, verb: str, question: bytes, end: float, read: Callable[[bytes], T]) -> T:
        """Ask something and wait for the answer, all of it.

        Args:
            verb: what is to be done.
            question: about it.
            end: moment of ``time.monotonic`` until which it is waited for.
            read: answer -> what is returned; raises any error if it is none.

        Raises:
            StorageError: the shard cannot be reached, not in time, refuses, or answers wrongly.
        """
        from pyarrow.flight import Action, FlightCallOptions, FlightTimedOutError

        left = end - time.monotonic()
        if left <= 0:  # which would be without a limit
            raise self._failure("it is late")
        try:
            options = FlightCallOptions(timeout=left, headers=self._headers)
            results = self._flight().do_action(Action(verb, question), options)
            answer = read(b"".join(result.body.to_pybytes() for result in results))
        except FlightTimedOutError:
            raise self._failure("it is late") from None
        except Exception as error:  # noqa: BLE001 - what listens there may say anything
            words = str(error).partition(". Detail:")[0].partition(". gRPC")[0]
            raise self._failure(words or type(error).__name__) from None
        self.problem = ""
        return answer

    def state(self, deadline_s: float) -> ShardState:
        """What the shard has.

        Raises:
            StorageError: it cannot be reached.
        """
        end = time.monotonic() + deadline_s
        return self.ask(TELL_STATE, _join_question({}), end, ShardState.of_bytes)

    def _flight(self) -> FlightClient:
        from pyarrow.flight import FlightClient

        with self._lock:
            if self._client is None:
                options, tls = list(_CONNECTION_OPTIONS), self._tls
                scheme, more = ("grpc", {}) if tls is None else ("grpc+tls", tls.client_options())
                address = f"{scheme}://{self.address}"
                self._client = FlightClient(address, generic_options=options, **more)
            return self._client

    def _failure(self, reason: str) -> StorageError:
        told = f"shard {self.address} does not answer: {reason}."
        if UNKNOWN_SET not in reason:  # which the next question mends
            self.problem = told
        return StorageError(told)


class RemoteShard:
    """A range of one index of one generation, on another machine.

    Args:
        connection: to the machine.
        generation: name of the generation.
        index: folder of the index in it.
        begin: number of the first item of the range.
        end: number after that of its last item.
    """

    def __init__(
        self, connection: ShardConnection, generation: str, index: str, begin: int, end: int
    ) -> None:
        self.name = connection.address
        self._connection, self._generation, self._index = connection, generation, index
        self._begin, self._end = begin, end
        self._digests: WeakKeyDictionary[ItemSet, str] = WeakKeyDictionary()

    def start(
        self, query: FloatArray, plan: SearchPlan, allowed: AllowedItems | None, end: float
    ) -> Callable[[], FoundItems]:
        """Begin a search by a plan; what is returned waits for its items, until a moment.

        Raises:
            StorageError: by what is returned: the shard cannot answer, or not in time.
        """
        inside = None if allowed is None else allowed.within_range(self._begin, self._end)
        if inside is not None and inside.count < 1:
            return FoundItems.none
        items = "" if inside is None or inside.shared.is_whole else self._digest_of(inside.shared)
        excluded = NO_ITEMS if inside is None else inside.excluded
        asked = ShardQuestion(
            *(self._generation, self._index, self._begin, self._end),
            *(plan, items, query, excluded),
        )
        shared = None if inside is None else inside.shared
        find = partial(self._find, asked.to_bytes(), shared, items, end)
        return self._connection.begin(find, end)

    def start_scores(
        self, query: FloatArray, items: IntArray, end: float
    ) -> Callable[[], FloatArray]:
        """Begin to compute the products of items that were proposed.

        Raises:
            StorageError: by what is returned: the shard cannot answer, or not in time.
        """
        question = ScoreQuestion(self._generation, self._index, query, items).to_bytes()
        read = partial(read_scores, count=len(items))
        return self._connection.begin(lambda: self._connection.ask(SCORE, question, end, read), end)

    def _find(self, question: bytes, shared: ItemSet | None, digest: str, end: float) -> FoundItems:
        """Ask for items; send the set of those that may be shown first if the shard lacks it."""
        read = partial(read_found, begin=self._begin, end=self._end)
        try:
            return self._connection.ask(PROPOSE, question, end, read)
        except StorageError as error:
            if shared is None or UNKNOWN_SET not in str(error):
                raise
        head = {"items": digest, "count": shared.num_items}
        bits = _join_question(head, shared.bits.tobytes())
        self._connection.ask(KEEP_SET, bits, end, bytes)
        return self._connection.ask(PROPOSE, question, end, read)

    def _digest_of(self, items: ItemSet) -> str:
        found = self._digests.get(items)
        if found is None:
            found = digest_of(items.bits.tobytes())
            self._digests[items] = found
        return found


def found_bytes(found: FoundItems) -> bytes:
    """The items (C,) that were found, as they are sent."""
    counts = np.array([len(found.items), len(found.scores)], "<i4").tobytes()
    values = np.concatenate([found.closeness, found.scores]).astype("<f4").tobytes()
    return counts + found.items.astype("<i4").tobytes() + values


def read_found(content: bytes, begin: int, end: int) -> FoundItems:
    """Items of ``found_bytes``.

    Raises:
        ValueError: it is something else, or has items that are not in [begin, end).
    """
    count, num_scores = np.frombuffer(content[:_COUNTS], "<i4").tolist()
    items = np.frombuffer(content[_COUNTS : _COUNTS + 4 * count], "<i4").astype(np.int32)
    values = np.frombuffer(content[_COUNTS + 4 * count :], "<f4").astype(np.float32)
    has_all = 0 <= num_scores <= count == len(items) and len(values) == count + num_scores
    if not has_all or not are_within(items - begin, end - begin):
        raise ValueError(f"it has other items than {begin} to {end - 1}")
    return FoundItems(items, values[:count], values[count:])


def read_scores(content: bytes, count: int) -> FloatArray:
    """Products (M,), as many as are counted.

    Raises:
        ValueError: these are others.
    """
    scores = np.frombuffer(content, "<f4").astype(np.float32)
    if len(scores) != count:
        raise ValueError(f"it has {len(scores)} scores of {count}")
    return scores


def digest_of(bits: bytes) -> str:
    """Name of a set by its bitmap."""
    return hashlib.sha256(bits).hexdigest()[:32]


def read_set(head: dict[str, Any], bits: bytes) -> tuple[str, ItemSet]:
    """Digest and set of what a client sends before it names a set.

    Raises:
        ValueError, KeyError, TypeError: it is something else, or the bits of another set.
    """
    digest, count = str(head["items"]), int(head["count"])
    if digest_of(bits) != digest or len(bits) != -(-count // 8):
        raise ValueError("the digest is that of another set")
    mask = np.unpackbits(np.frombuffer(bits, np.uint8), count=count, bitorder="little")
    return digest, ItemSet(mask.astype(np.bool_))
