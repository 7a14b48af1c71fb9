"""A shard: searches one range of item numbers in the indexes of the generation in force.

It answers questions of ``models.remote_shard`` over channels, from the generation in force and
from the one before, so that a service swaps when it likes. It has no other data than the vectors of
its range in memory.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import Any

from serendip.data.allowed_items import AllowedItems, ItemSet
from serendip.engine.generations import current_name, open_current
from serendip.engine.shards import find_indexes
from serendip.engine.workspace import Workspace
from serendip.errors import DataError, SerendipError
from serendip.models.remote_shard import (
    KEEP_SET,
    PROPOSE,
    SCORE,
    TELL_STATE,
    UNKNOWN_SET,
    ScoreQuestion,
    ShardQuestion,
    ShardState,
    found_bytes,
    read_set,
    split_question,
)
from serendip.models.sharded_index import LocalShard
from serendip.runtime.channels import ChannelServer, RefusedError

_log = logging.getLogger(__name__)

_GENERATIONS, _SETS = 2, 256
"""Generations and sets of items that are kept: the newest, and the last ones asked for."""


class ShardServer:
    """Answers for one range of items.

    Args:
        workspace: whose generations are searched.
        part: number of the range, from 0.
        parts: number of ranges.
        host: to listen on.
        port: to listen on; 0 picks a free one.
        token: that clients must know; empty = none.
    """

    def __init__(
        self, workspace: Workspace, part: int, parts: int, host: str, port: int, token: str
    ) -> None:
        self._channels = ChannelServer(host, port, token.encode(), self.answer)
        self.port = self._channels.port
        self._workspace, self._part, self._parts = workspace, part, parts
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

    def start(self) -> None:
        """Answer, in threads, until ``close``."""
        self._channels.start()

    def close(self) -> None:
        """Stop answering."""
        self._channels.close()

    def answer(self, content: bytes) -> bytes:
        """Answer a question, keep a set of items, or say what this shard has.

        Raises:
            RefusedError: it is none, or the shard lacks what it names.
        """
        acts = {
            PROPOSE: self._propose,
            SCORE: self._score,
            KEEP_SET: self._keep_set,
            TELL_STATE: self._describe,
        }
        try:
            head, rest = split_question(content)
            act = acts[head["verb"]]
            return act(head, rest)
        except (DataError, ValueError, KeyError, TypeError) as error:
            raise RefusedError(f"not a question: {error}") from None

    def _propose(self, head: dict[str, Any], arrays: bytes) -> bytes:
        question = ShardQuestion.of(head, arrays)
        shard = self._shard(question.generation, question.index)
        with self._lock:
            inside = self._allowed(question, shard.end - shard.begin)
        return found_bytes(shard.propose_inside(question.query, question.plan, inside))

    def _score(self, head: dict[str, Any], arrays: bytes) -> bytes:
        question = ScoreQuestion.of(head, arrays)
        shard = self._shard(question.generation, question.index)
        return shard.score(question.query, question.items).astype("<f4").tobytes()

    def _shard(self, generation: str, index: str) -> LocalShard:
        with self._lock:
            shards = self._generations.get(generation, {})
        if index not in shards:
            raise RefusedError(f"{index} of {generation} is not here")
        return shards[index]

    def _keep_set(self, head: dict[str, Any], bits: bytes) -> bytes:
        digest, items = read_set(head, bits)
        with self._lock:
            self._sets[digest] = items
            while len(self._sets) > _SETS:
                self._sets.popitem(last=False)
        return b""

    def _describe(self, head: dict[str, Any], rest: bytes) -> bytes:
        with self._lock:
            names = tuple(self._generations)
        return ShardState(self._part, self._parts, names).to_bytes()

    def _allowed(self, question: ShardQuestion, count: int) -> AllowedItems | None:
        if question.items:
            if question.items not in self._sets:
                raise RefusedError(UNKNOWN_SET)
            self._sets.move_to_end(question.items)
            return AllowedItems(self._sets[question.items], question.excluded)
        if len(question.excluded):
            whole = self._sets.setdefault(f"all {count}", ItemSet.all(count))
            return AllowedItems(whole, question.excluded)
        return None
