"""A shard: searches one range of item numbers in the indexes of the generation in force.

It answers questions of ``models.remote_shard`` by Arrow Flight, from the generation in force and
from the one before, so that a service swaps when it likes. It has no other data than the vectors of
its range in memory.
"""

from __future__ import annotations

import hmac
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow.flight as flight

from serendip.data.allowed_items import AllowedItems, ItemSet
from serendip.engine.generations import current_name, open_current
from serendip.engine.shards import find_indexes
from serendip.engine.workspace import Workspace
from serendip.errors import SerendipError
from serendip.models.remote_shard import (
    NEAREST_ACTION,
    SET_ACTION,
    STATE_ACTION,
    UNKNOWN_SET,
    ShardQuestion,
    ShardState,
    answer_bytes,
    read_set_head,
)
from serendip.models.sharded_index import LocalShard

_log = logging.getLogger(__name__)

_GENERATIONS, _SETS = 2, 256
"""Generations and sets of items that are kept: the newest, and the last ones asked for."""


class ShardServer(flight.FlightServerBase):  # type: ignore[misc]  # pyarrow has no types
    """Answers for one range of items.

    Args:
        workspace: whose generations are searched.
        part: number of the range, from 0.
        parts: number of ranges.
        host: to listen on.
        port: to listen on; 0 picks a free one.
        token: that clients must show; empty = none.
    """

    def __init__(
        self, workspace: Workspace, part: int, parts: int, host: str, port: int, token: str
    ) -> None:
        super().__init__(f"grpc://{host}:{port}")
        self._workspace, self._part, self._parts, self._token = workspace, part, parts, token
        self._generations: OrderedDict[str, dict[str, LocalShard]] = OrderedDict()
        self._sets: OrderedDict[str, ItemSet] = OrderedDict()
        self._lock = threading.Lock()

    def load(self) -> str:
        """Load the generation in force unless it is loaded; returns its name.

        Raises:
            SerendipError: nothing is published, or it cannot be read.
        """
        name = current_name(self._workspace.generations)
        with self._lock:
            if name and name in self._generations:
                self._generations.move_to_end(name)  # the one in force is dropped last
                return name
        generation = open_current(self._workspace.generations)
        shards = {
            index: LocalShard.open(generation.folder / index, self._part, self._parts)
            for index in find_indexes(generation.folder)
        }
        with self._lock:
            self._generations[generation.name] = shards
            while len(self._generations) > _GENERATIONS:
                self._generations.popitem(last=False)
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

    def do_action(self, context: Any, action: Any) -> Iterator[bytes]:
        """Answer a question, keep a set of items, or say what this shard has."""
        acts = {
            NEAREST_ACTION: self._find_nearest,
            SET_ACTION: self._keep_set,
            STATE_ACTION: self._describe,
        }
        if action.type not in acts:
            raise flight.FlightServerError(f"unknown action {action.type}")
        return iter([acts[action.type](action.body.to_pybytes())])

    def _find_nearest(self, body: bytes) -> bytes:
        question = _read(ShardQuestion.of_bytes, body)
        self._require(question.token)
        with self._lock:
            shards = self._generations.get(question.generation, {})
            if question.index not in shards:
                raise flight.FlightServerError(
                    f"{question.index} of {question.generation} is not here"
                )
            shard = shards[question.index]
            inside = self._allowed(question, shard.end - shard.begin)
        return answer_bytes(shard.compare_inside(question.query, question.plan, inside))

    def _keep_set(self, body: bytes) -> bytes:
        head, bits = _read(read_set_head, body)
        self._require(head.token)
        items = _read(head.read, bits)
        with self._lock:
            self._sets[head.digest] = items
            while len(self._sets) > _SETS:
                self._sets.popitem(last=False)
        return b""

    def _describe(self, body: bytes) -> bytes:
        self._require(body.decode("utf-8", "replace"))
        with self._lock:
            names = tuple(self._generations)
        return ShardState(self._part, self._parts, names).to_bytes()

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

    def _require(self, token: str) -> None:
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            raise flight.FlightUnauthenticatedError("the token is another one")


def _read(read: Callable[[bytes], Any], content: bytes) -> Any:
    try:
        return read(content)
    except (ValueError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise flight.FlightServerError(f"not a question: {error}") from None
