"""A shard of an index on another machine, asked over a channel, and the form of what is sent.

A question is one line of JSON and the bytes of arrays; an answer is the bytes of arrays alone. The
items that may be shown are mostly a set that many requests share: it is sent once, as a bitmap of
the shard's range, and named by its digest afterwards.
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
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from serendip.data.allowed_items import AllowedItems, ItemSet
from serendip.data.arrays import NO_ITEMS, FloatArray, IntArray
from serendip.errors import StorageError
from serendip.models.ann_index import FoundItems, SearchPlan
from serendip.runtime.channels import Channel, RefusedError, read_answer

TOKEN_VARIABLE = "SERENDIP_SHARD_TOKEN"
"""Variable of the environment with the secret that a service and its shards share."""

UNKNOWN_SET = "unknown set"
"""Refusal of a shard that its client mends."""

PROPOSE, SCORE, KEEP_SET, TELL_STATE = "propose", "score", "keep set", "tell state"
"""What a shard does; each question says which by the ``verb`` of its line."""

_CONNECTING = 8
"""Threads that connect to a shard at once."""


def split_question(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The line of a question and the bytes behind it.

    Raises:
        ValueError: it is something else.
    """
    line, _, rest = content.partition(b"\n")
    head = json.loads(line)
    if not isinstance(head, dict):
        raise ValueError("no line of JSON")
    return head, rest


def _join_question(verb: str, head: dict[str, Any], rest: bytes = b"") -> bytes:
    return json.dumps({"verb": verb, **head}).encode() + b"\n" + rest


@dataclass(frozen=True, slots=True)
class ShardQuestion:
    """What a shard is asked.

    Args:
        generation: that answers.
        index: folder of the index in the generation.
        plan: of the search.
        items: digest of the set of items that may be shown; empty = all.
        query: (D,) float32.
        excluded: (E,) int32 further items that may not, numbered from 0 in the range.
    """

    generation: str
    index: str
    plan: SearchPlan
    items: str
    query: FloatArray
    excluded: IntArray

    def to_bytes(self) -> bytes:
        """One line of JSON, then the arrays."""
        plan = [self.plan.k, self.plan.pool, self.plan.share, self.plan.all_lists]
        texts = {"generation": self.generation, "index": self.index, "items": self.items}
        arrays = self.query.astype("<f4").tobytes() + self.excluded.astype("<i4").tobytes()
        return _join_question(PROPOSE, {**texts, "plan": plan, "size": len(self.query)}, arrays)

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
        k, pool, share, all_lists = head["plan"]
        plan = SearchPlan(int(k), int(pool), float(share), bool(all_lists))
        return cls(generation, index, plan, items, query, excluded)


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
        return _join_question(SCORE, head, arrays)

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
    """Channels to one shard, opened by the first questions: a process may be forked before.

    Args:
        address: ``host:port``.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._secret = os.environ.get(TOKEN_VARIABLE, "").encode()
        self._idle: list[Channel] = []
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(_CONNECTING, thread_name_prefix="shard-connections")

    def start(self, question: bytes, end: float) -> Callable[[], bytes]:
        """Ask something; what is returned waits for the answer.

        Args:
            question: to the shard.
            end: moment of ``time.monotonic`` until which the answer is waited for.

        Raises:
            StorageError: by what is returned: the shard cannot be reached, or not in time.
            RefusedError: by what is returned: it refuses.
        """
        channel = self._take()
        if channel is not None:
            try:
                channel.send(question)
                return partial(self._finish, channel, question, end)
            except OSError:
                channel.close()
        future = self._threads.submit(self._ask_anew, question, end)

        def wait() -> bytes:
            try:
                return future.result(max(0.0, end - time.monotonic()))
            except FutureTimeoutError:
                raise self._late() from None

        return wait

    def ask(self, question: bytes, deadline_s: float) -> bytes:
        """Ask something and wait for the answer.

        Raises:
            StorageError: the shard cannot be reached, or not in time.
            RefusedError: it refuses.
        """
        return self.start(question, time.monotonic() + deadline_s)()

    def state(self, deadline_s: float) -> ShardState:
        """What the shard has.

        Raises:
            StorageError: it cannot be reached.
        """
        return ShardState.of_bytes(self.ask(_join_question(TELL_STATE, {}), deadline_s))

    def _finish(self, channel: Channel, question: bytes, end: float) -> bytes:
        """Wait for the answer on a channel that was idle; open another if the shard closed it."""
        try:
            if not channel.is_ready(end - time.monotonic()):
                channel.close()  # its answer is to no later question
                raise self._late()
            answer = channel.receive()
        except (OSError, EOFError):
            channel.close()
            return self._ask_anew(question, end)
        self._give_back(channel)
        return read_answer(answer)

    def _ask_anew(self, question: bytes, end: float) -> bytes:
        """Open a channel and ask there."""
        channel = None
        try:
            channel = Channel.open(self.address, self._secret, end - time.monotonic())
            channel.send(question)
            if not channel.is_ready(end - time.monotonic()):
                raise TimeoutError("it is late")
            answer = channel.receive()
        except (OSError, EOFError) as error:
            if channel is not None:
                channel.close()
            reason = str(error) or "it closes the connection"
            raise StorageError(f"shard {self.address} does not answer: {reason}.") from None
        self._give_back(channel)
        return read_answer(answer)

    def _take(self) -> Channel | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _give_back(self, channel: Channel) -> None:
        with self._lock:
            self._idle.append(channel)

    def _late(self) -> StorageError:
        return StorageError(f"shard {self.address} does not answer: it is late.")


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
        asked = ShardQuestion(self._generation, self._index, plan, items, query, excluded)
        question = asked.to_bytes()
        wait = self._connection.start(question, end)

        def finish() -> FoundItems:
            try:
                return read_found(wait())
            except RefusedError as refusal:
                if inside is None or str(refusal) != UNKNOWN_SET:
                    raise self._refused(refusal) from None
            try:
                self._send(inside.shared, items, end)
                return read_found(self._connection.start(question, end)())
            except RefusedError as refusal:
                raise self._refused(refusal) from None

        return finish

    def start_scores(
        self, query: FloatArray, items: IntArray, end: float
    ) -> Callable[[], FloatArray]:
        """Begin to compute the products of items that were proposed.

        Raises:
            StorageError: by what is returned: the shard cannot answer, or not in time.
        """
        question = ScoreQuestion(self._generation, self._index, query, items)
        wait = self._connection.start(question.to_bytes(), end)

        def finish() -> FloatArray:
            try:
                scores = np.frombuffer(wait(), "<f4").astype(np.float32)
            except RefusedError as refusal:
                raise self._refused(refusal) from None
            if len(scores) != len(items):
                raise StorageError(f"shard {self.name} has {len(scores)} scores of {len(items)}.")
            return scores

        return finish

    def _refused(self, refusal: RefusedError) -> StorageError:
        return StorageError(f"shard {self.name} does not answer: {refusal}.")

    def _digest_of(self, items: ItemSet) -> str:
        found = self._digests.get(items)
        if found is None:
            found = digest_of(items.bits.tobytes())
            self._digests[items] = found
        return found

    def _send(self, items: ItemSet, digest: str, end: float) -> None:
        head = {"items": digest, "count": items.num_items}
        self._connection.start(_join_question(KEEP_SET, head, items.bits.tobytes()), end)()


def found_bytes(found: FoundItems) -> bytes:
    """The items (C,) that were found, as they are sent."""
    return found.items.astype("<i4").tobytes() + found.closeness.astype("<f4").tobytes()


def read_found(content: bytes) -> FoundItems:
    """Items of ``found_bytes``."""
    half = len(content) // 2
    items = np.frombuffer(content[:half], "<i4").astype(np.int32)
    return FoundItems(items, np.frombuffer(content[half:], "<f4").astype(np.float32))


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
