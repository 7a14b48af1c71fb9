"""A shard of an index on another machine, asked by Arrow Flight, and the form of what is sent.

A question is one line of JSON and the bytes of arrays; an answer is the bytes of arrays alone: an
action of Flight costs less than a table of so few rows. The items that may be shown
are mostly a set that many requests share: it is sent once, as a bitmap of the shard's range, and
named by its digest afterwards.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from serendip.data.allowed_items import AllowedItems, ItemSet
from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray
from serendip.errors import StorageError
from serendip.models.ann_index import FoundItems, SearchPlan

if TYPE_CHECKING:
    from pyarrow.flight import FlightCallOptions, FlightClient

TOKEN_VARIABLE = "SERENDIP_SHARD_TOKEN"
"""Variable of the environment with the secret that a service and its shards share."""

UNKNOWN_SET = "unknown set"
"""Error of a shard that its client mends."""

NEAREST_ACTION, SET_ACTION, STATE_ACTION = "nearest", "set", "state"


@dataclass(frozen=True, slots=True)
class ShardQuestion:
    """What a shard is asked.

    Args:
        token: that service and shard share.
        generation: that answers.
        index: folder of the index in the generation.
        plan: of the search.
        items: digest of the set of items that may be shown; empty = all.
        query: (D,) float32.
        excluded: (E,) int32 further items that may not, numbered from 0 in the range.
    """

    token: str
    generation: str
    index: str
    plan: SearchPlan
    items: str
    query: FloatArray
    excluded: IntArray

    def to_bytes(self) -> bytes:
        """One line of JSON, then the arrays."""
        texts = {"token": self.token, "generation": self.generation, "index": self.index}
        plan = [self.plan.k, self.plan.pool, self.plan.share, self.plan.all_lists]
        head = {**texts, "items": self.items, "plan": plan, "size": len(self.query)}
        arrays = self.query.astype("<f4").tobytes() + self.excluded.astype("<i4").tobytes()
        return json.dumps(head).encode() + b"\n" + arrays

    @classmethod
    def of_bytes(cls, content: bytes) -> ShardQuestion:
        """Read what ``to_bytes`` wrote.

        Raises:
            ValueError: it is something else.
        """
        line, _, arrays = content.partition(b"\n")
        head = json.loads(line)
        size = 4 * int(head["size"])
        query = np.frombuffer(arrays[:size], "<f4")
        excluded = np.frombuffer(arrays[size:], "<i4").astype(np.int32)
        token, generation, index, items = (
            str(head[name]) for name in ("token", "generation", "index", "items")
        )
        k, pool, share, all_lists = head["plan"]
        plan = SearchPlan(int(k), int(pool), float(share), bool(all_lists))
        return cls(token, generation, index, plan, items, query, excluded)


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
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.token = os.environ.get(TOKEN_VARIABLE, "")
        self._client: FlightClient | None = None
        self._lock = threading.Lock()

    def client(self) -> FlightClient:
        """The client of the connection."""
        from pyarrow.flight import FlightClient

        with self._lock:
            if self._client is None:
                self._client = FlightClient(f"grpc://{self.address}")
            return self._client

    def act(self, kind: str, body: bytes, deadline_s: float) -> bytes:
        """Let the shard do something; returns what it says.

        Raises:
            StorageError: it cannot be reached, or refuses.
        """
        from pyarrow import ArrowException
        from pyarrow.flight import Action

        try:
            results = self.client().do_action(Action(kind, body), _options(deadline_s))
            return b"".join(result.body.to_pybytes() for result in results)
        except (ArrowException, OSError) as error:
            raise _as_storage_error(self.address, error) from None

    def state(self, deadline_s: float) -> ShardState:
        """What the shard has.

        Raises:
            StorageError: it cannot be reached.
        """
        return ShardState.of_bytes(self.act(STATE_ACTION, self.token.encode(), deadline_s))


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

    def compare(
        self, query: FloatArray, plan: SearchPlan, allowed: AllowedItems | None, deadline_s: float
    ) -> FoundItems:
        """The allowed items of the range among which a query (D,) has its best ones, by a plan.

        Raises:
            StorageError: the shard cannot answer, or not in time.
        """
        inside = None if allowed is None else allowed.within_range(self._begin, self._end)
        if inside is not None and inside.count < 1:
            return FoundItems.none()
        items = "" if inside is None or inside.shared.is_whole else self._digest_of(inside.shared)
        excluded = NO_ITEMS if inside is None else inside.excluded
        asked = (self._connection.token, self._generation, self._index, plan, items)
        question = ShardQuestion(*asked, query, excluded)
        try:
            return self._ask(question, deadline_s)
        except StorageError as error:
            if inside is None or UNKNOWN_SET not in str(error):
                raise
        self._send(inside.shared, items, deadline_s)
        return self._ask(question, deadline_s)

    def _ask(self, question: ShardQuestion, deadline_s: float) -> FoundItems:
        answer = self._connection.act(NEAREST_ACTION, question.to_bytes(), deadline_s)
        return read_answer(answer)

    def _digest_of(self, items: ItemSet) -> str:
        found = self._digests.get(items)
        if found is None:
            found = digest_of(items.bits.tobytes())
            self._digests[items] = found
        return found

    def _send(self, items: ItemSet, digest: str, deadline_s: float) -> None:
        head = {"token": self._connection.token, "items": digest, "count": items.num_items}
        body = json.dumps(head).encode() + b"\n" + items.bits.tobytes()
        self._connection.act(SET_ACTION, body, deadline_s)


def answer_bytes(found: FoundItems) -> bytes:
    """The items (C,) that were found, as they are sent."""
    numbers = found.items.astype("<i4").tobytes()
    return numbers + found.closeness.astype("<f4").tobytes() + found.scores.astype("<f4").tobytes()


def read_answer(content: bytes) -> FoundItems:
    """Items of ``answer_bytes``."""
    third = len(content) // 3
    items = np.frombuffer(content[:third], "<i4").astype(np.int32)
    numbers = np.frombuffer(content[third:], "<f4").astype(np.float32).reshape(2, -1)
    return FoundItems(items, numbers[0], numbers[1])


def digest_of(bits: bytes) -> str:
    """Name of a set by its bitmap."""
    return hashlib.sha256(bits).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class SetHead:
    """What comes before the bits of a set of items.

    Args:
        token: of the client.
        digest: of the bits, see ``digest_of``.
        count: number of items of the catalogue, one bit each.
    """

    token: str
    digest: str
    count: int

    def read(self, bits: bytes) -> ItemSet:
        """The set of its bits.

        Raises:
            ValueError: these are the bits of another set.
        """
        if digest_of(bits) != self.digest or len(bits) != -(-self.count // 8):
            raise ValueError("the digest is that of another set")
        mask = np.unpackbits(np.frombuffer(bits, np.uint8), count=self.count, bitorder="little")
        return ItemSet(mask.astype(np.bool_))


def read_set_head(body: bytes) -> tuple[SetHead, bytes]:
    """Head and bits of what a client sends before it names a set.

    Raises:
        ValueError: it is something else.
    """
    line, _, bits = body.partition(b"\n")
    head: dict[str, Any] = json.loads(line)
    return SetHead(str(head["token"]), str(head["items"]), int(head["count"])), bits


def _options(deadline_s: float) -> FlightCallOptions:
    from pyarrow.flight import FlightCallOptions

    return FlightCallOptions(timeout=deadline_s)


def _as_storage_error(address: str, error: Exception) -> StorageError:
    return StorageError(f"shard {address} does not answer: {str(error).partition('. gRPC')[0]}")
