"""Context of a job: workspace, data, query log and encoders, each opened once for all steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from serendip.content.cache import VectorCache
from serendip.content.config import open_media
from serendip.content.encoders.base import TextEncoder
from serendip.content.encoders.media_files import Media
from serendip.content.encoders.text import open_encoder
from serendip.data.dataset import Dataset
from serendip.data.events.search_log import (
    Search,
    SuggestedQuery,
    read_searches,
    read_suggested,
    similar_choices,
)
from serendip.data.snapshot import MOST_REQUESTED, StoreSnapshot, read_snapshot
from serendip.engine.config.settings import Settings
from serendip.engine.workspace import Workspace
from serendip.errors import DataError
from serendip.runtime.budget import Allowance, open_budget, parse_duration
from serendip.runtime.executor_factory import open_executor
from serendip.runtime.progress import StageClock, TrainOptions

_TASKS = "tasks"
"""Folder of the cache for files that tasks of an executor read, while they run."""


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """Logged queries, in the item numbers of a snapshot.

    Args:
        similar: user -> times of the choices on the surface ``similar``.
    """

    dataset: Dataset
    searches: Sequence[Search]
    suggested: Sequence[SuggestedQuery] = ()
    similar: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class JobContext:
    """One run of a job; data, encoders and caches are opened at first use and then reused.

    All steps therefore see items and events as they were at the first read; ``query_log`` and what
    a gate asks are read when they are needed.

    Args:
        clock: measures the stages.
        budget: time of the job, from its beginning.
    """

    workspace: Workspace
    options: TrainOptions = field(default_factory=TrainOptions)
    clock: StageClock = field(default_factory=StageClock)
    budget: Allowance = field(default_factory=open_budget)

    @classmethod
    def open(
        cls,
        folder: Path,
        options: TrainOptions | None = None,
        clock: StageClock | None = None,
        budget: str | None = None,
        on_engine: bool = False,
    ) -> JobContext:
        """Read the settings of a folder.

        ``budget`` is the time of trainings, such as ``10m``, None = that of the settings. Tasks run
        where ``[engine]`` says if ``on_engine``, else on the executor of the options.

        Raises:
            ConfigError: ``serendip.toml`` is missing, or a key or value in it is wrong, or the
                budget, or the engine cannot be used.
            ExtraMissing: the package of the engine is not installed.
        """
        context = cls.of(Workspace.open(folder), options, clock, budget)
        if not on_engine:
            return context
        executor = open_executor(context.settings.engine)
        return replace(context, options=replace(context.options, executor=executor))

    @classmethod
    def of(
        cls,
        workspace: Workspace,
        options: TrainOptions | None = None,
        clock: StageClock | None = None,
        budget: str | None = None,
    ) -> JobContext:
        """The context of an open workspace, as a task of an executor has it; see ``open``."""
        text = budget or workspace.settings.train.budget
        shared = workspace.cache.absolute() / _TASKS
        return cls(
            workspace,
            replace(options or TrainOptions(), shared=shared),
            clock or StageClock(),
            open_budget(parse_duration(text) if text else None),
        )

    @property
    def settings(self) -> Settings:
        """Settings of ``serendip.toml``."""
        return self.workspace.settings

    @cached_property
    def snapshot(self) -> StoreSnapshot:
        """Items and interactions of the database, and its positions just before the read.

        Raises:
            StorageError: there is no database.
        """
        reading = self.options.progress.step("reading items and events")
        with reading, self.workspace.open_store() as store:
            return read_snapshot(store, self.settings.actions)

    @property
    def dataset(self) -> Dataset:
        """Items and interactions of the snapshot."""
        return self.snapshot.dataset

    def require_items(self) -> Dataset:
        """The dataset, with at least one item.

        Raises:
            DataError: the catalogue is empty.
        """
        if self.dataset.num_items == 0:
            raise DataError("the catalogue is empty.", "Import items first: `serendip import`.")
        return self.dataset

    @cached_property
    def query_log(self) -> Log:
        """Logged queries of the database, in the item numbers of the snapshot.

        Raises:
            DataError: the catalogue is empty.
        """
        dataset = self.require_items()
        reading = self.options.progress.step("reading the log of queries")
        with reading, self.workspace.open_store() as store:
            rules, events = self.settings.actions, store.log.requested(MOST_REQUESTED)
        return Log(
            dataset,
            read_searches(events, dataset.catalogue.vocabulary, rules),
            read_suggested(events, rules),
            similar_choices(events, rules),
        )

    @cached_property
    def encoder(self) -> TextEncoder:
        """The text encoder of ``[content]``; its weights are loaded at the first call."""
        return open_encoder(self.settings.content, self.options.device)

    @cached_property
    def media(self) -> Mapping[str, Media]:
        """Encoders of pictures and sounds, by modality."""
        return open_media(self.settings.content, self.workspace.folder, self.options.device)

    @cached_property
    def vectors(self) -> VectorCache:
        """Cached vectors of items and queries."""
        return VectorCache(self.workspace.cache)

    @cached_property
    def word_vectors(self) -> VectorCache:
        """Cached vectors of single words and short phrases."""
        return VectorCache(self.workspace.cache / "words")
