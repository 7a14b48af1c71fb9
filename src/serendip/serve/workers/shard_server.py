"""A shard: searches one range of item numbers in the indexes of the generation in force.

It answers questions of ``models.remote_shard`` by Arrow Flight, from the generation in force and
from the one before, so that a service swaps when it likes, and from one that a service still asks
for because it could not swap. It has no other data than the vectors of its range in memory. As many
questions are computed at once as there are cores; the others wait, as long as somebody waits for
them.
"""

from __future__ import annotations

import hmac
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow.flight as flight

from serendip.data.items.allowed_items import AllowedItems, ItemSet
from serendip.engine.artefacts.generations import current_name, open_current
from serendip.engine.artefacts.shards import find_indexes
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, SerendipError
from serendip.models.index.remote_shard import (
    KEEP_SET,
    PROPOSE,
    SCORE,
    TELL_STATE,
    TOKEN_HEADER,
    UNKNOWN_SET,
    ScoreQuestion,
    ShardQuestion,
    ShardState,
    found_bytes,
    read_set,
    split_question,
)
from serendip.models.index.shard_tls import ShardTls
from serendip.models.index.sharded_index import LocalShard
from serendip.runtime.executor import count_cores
from serendip.serve.telemetry.logs import FailureLog

_log = logging.getLogger(__name__)

_NEWEST, _SETS = 2, 256
"""Newest generations, and sets of items last asked for, that are kept."""

ASKED_S = 600.0
"""Seconds for which an older generation is kept after a question about it."""

_MOST_WAITING = 256
"""Questions that are computed or wait for it; more are refused at once."""

_LOOK_S = 0.02
"""Seconds after which a question that waits is looked at: whether somebody still waits for it."""


class QuestionQueue:
    """Lets a few questions be computed at once, and drops those whose answer nobody waits for.

    Args:
        at_once: that are computed.
        most: that are computed or wait.
    """

    def __init__(self, at_once: int, most: int = _MOST_WAITING) -> None:
        self._turns, self._places = threading.Semaphore(at_once), threading.Semaphore(most)

    @contextmanager
    def turn(self, is_given_up: Callable[[], bool]) -> Iterator[None]:
        """Wait for a turn, and have it.

        Args:
            is_given_up: whether nobody waits for the answer any more.

        Raises:
            FlightUnavailableError: too many wait.
            FlightCancelledError: nobody waits for the answer.
        """
        if not self._places.acquire(blocking=False):
            raise flight.FlightUnavailableError("it is busy")
        try:
            has_turn = False
            while not has_turn and not is_given_up():
                has_turn = self._turns.acquire(timeout=_LOOK_S)
            if not has_turn:
                raise flight.FlightCancelledError("nobody waits for the answer")
            try:
                yield
            finally:
                self._turns.release()
        finally:
            self._places.release()


class GenerationCache:
    """Indexes of generations: of the newest two, and of the last asked for among the others.

    Each of them takes memory, so there are three at most; the third goes when no question has been
    about it for ten minutes.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._indexes: OrderedDict[str, Mapping[str, LocalShard]] = OrderedDict()
        self._asked_at: dict[str, float] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the generations, the newest last."""
        with self._lock:
            return tuple(self._indexes)

    def renew(self, name: str) -> bool:
        """Make a generation the newest one, which is dropped last; False if it is not here."""
        with self._lock:
            if name not in self._indexes:
                return False
            self._indexes.move_to_end(name)
            self._drop_others()
            return True

    def put(self, name: str, indexes: Mapping[str, LocalShard]) -> None:
        """Add the newest generation."""
        with self._lock:
            self._indexes[name] = indexes
            self._drop_others()

    def find(self, name: str, index: str) -> LocalShard | None:
        """The index that a question is about; None if it is not here."""
        with self._lock:
            if name in self._indexes:
                self._asked_at[name] = self._clock()
            return self._indexes.get(name, {}).get(index)

    def _drop_others(self) -> None:
        others, now = list(self._indexes)[:-_NEWEST], self._clock()
        asked_at = {name: self._asked_at.get(name, -math.inf) for name in others}
        last = max(others, key=asked_at.__getitem__, default="")
        for name in others:
            if name != last or now - asked_at[name] > ASKED_S:
                del self._indexes[name]
                self._asked_at.pop(name, None)


class _TokenCheck(flight.ServerMiddlewareFactory):  # type: ignore[misc]  # pyarrow has no types
    """Refuses calls without the token."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._token = token.encode().hex().encode()

    def start_call(self, info: Any, headers: Mapping[str, list[Any]]) -> None:
        """Compare the header of a call in constant time."""
        shown = str(headers.get(TOKEN_HEADER, [""])[0]).encode()
        if not hmac.compare_digest(shown, self._token):
            raise flight.FlightUnauthenticatedError("the token is another one")


class ShardServer(flight.FlightServerBase):  # type: ignore[misc]
    """Answers for one range of items, from its creation to ``close``, in threads.

    Args:
        workspace: whose generations are searched.
        part: number of the range, from 0.
        parts: number of ranges.
        host: to listen on.
        port: to listen on; 0 picks a free one.
        token: that clients must show; empty = none.
        tls: encrypts connections, and asks clients for their certificates; None = neither.
    """

    def __init__(
        self,
        workspace: Workspace,
        part: int,
        parts: int,
        host: str,
        port: int,
        token: str,
        tls: ShardTls | None = None,
    ) -> None:
        self._workspace, self._part, self._parts = workspace, part, parts
        self._generations = GenerationCache()
        self._sets: OrderedDict[str, ItemSet] = OrderedDict()
        self._lock = threading.Lock()
        self._queue, self._failures = QuestionQueue(count_cores()), FailureLog(_log)
        address = f"[{host}]" if ":" in host else host
        scheme, more = ("grpc", {}) if tls is None else ("grpc+tls", tls.server_options())
        checks = {"token": _TokenCheck(token)}
        super().__init__(f"{scheme}://{address}:{port}", middleware=checks, **more)

    def load(self) -> str:
        """Load the generation in force unless it is loaded; returns its name.

        Raises:
            SerendipError: nothing is published, or it cannot be read.
        """
        name = current_name(self._workspace.generations)
        if name and self._generations.renew(name):
            return name
        generation = open_current(self._workspace.generations)
        shards = {
            index: LocalShard.open(generation.folder / index, self._part, self._parts)
            for index in find_indexes(generation.folder)
        }
        self._generations.put(generation.name, shards)
        _log.info("%s can be searched, %d indexes", generation.name, len(shards))
        return generation.name

    def follow(self, ended: threading.Event, every_s: float = 1.0) -> None:
        """Load each new generation, until ``ended``; a failure is logged and tried again."""
        failure = ""
        while not ended.wait(every_s):
            try:
                self.load()
                failure = ""
            except SerendipError as error:
                if str(error) != failure:
                    _log.error("the generation in force cannot be loaded yet: %s", error)
                failure = str(error)

    def close(self) -> None:
        """Stop answering."""
        self.shutdown()

    def do_action(self, context: Any, action: Any) -> Iterator[bytes]:
        """Answer a question, keep a set of items, or say what this shard has.

        Raises:
            FlightError: it is none, the shard lacks what it names, or fails.
        """
        acts = {
            PROPOSE: self._propose,
            SCORE: self._score,
            KEEP_SET: self._keep_set,
            TELL_STATE: self._describe,
        }
        with self._queue.turn(context.is_cancelled):
            try:
                head, rest = split_question(action.body.to_pybytes())
                return iter([acts[action.type](head, rest)])
            except flight.FlightError:
                raise
            except (DataError, ValueError, KeyError, TypeError) as error:
                raise flight.FlightServerError(f"not a question: {error}") from None
            except Exception as error:  # noqa: BLE001 - the client leaves this shard out
                self._failures.write("a question cannot be answered", error)
                raise flight.FlightServerError("it fails, see its log") from None

    def _propose(self, head: dict[str, Any], arrays: bytes) -> bytes:
        question = ShardQuestion.of(head, arrays)
        shard = self._shard(question.generation, question.index)
        if (shard.begin, shard.end) != (question.begin, question.end):
            raise flight.FlightServerError(
                f"it has part {self._part + 1} of {self._parts}, which is {shard.name}, and is "
                f"asked for items {question.begin} to {question.end - 1}"
            )
        with self._lock:
            inside = self._allowed(question, shard.end - shard.begin)
        return found_bytes(shard.propose_inside(question.query, question.plan, inside))

    def _score(self, head: dict[str, Any], arrays: bytes) -> bytes:
        question = ScoreQuestion.of(head, arrays)
        shard = self._shard(question.generation, question.index)
        return shard.score(question.query, question.items).astype("<f4").tobytes()

    def _shard(self, generation: str, index: str) -> LocalShard:
        shard = self._generations.find(generation, index)
        if shard is None:
            raise flight.FlightServerError(f"{index} of {generation} is not here")
        return shard

    def _keep_set(self, head: dict[str, Any], bits: bytes) -> bytes:
        digest, items = read_set(head, bits)
        with self._lock:
            self._sets[digest] = items
            while len(self._sets) > _SETS:
                self._sets.popitem(last=False)
        return b""

    def _describe(self, head: dict[str, Any], rest: bytes) -> bytes:
        return ShardState(self._part, self._parts, self._generations.names).to_bytes()

    def _allowed(self, question: ShardQuestion, count: int) -> AllowedItems | None:
        if question.items:
            if question.items not in self._sets:
                raise flight.FlightServerError(UNKNOWN_SET)
            self._sets.move_to_end(question.items)
            return AllowedItems(self._sets[question.items], question.excluded)
        if len(question.excluded):
            whole = self._sets.setdefault(f"all {count}", ItemSet.all(count))
            return AllowedItems(whole, question.excluded)
        return None
