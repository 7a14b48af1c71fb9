"""All settings of a workspace: the tables of ``serendip.toml``.

Each table is the config of one component and is defined beside that component; this file only names
the tables. A missing table has its default values, an unknown key is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from serendip.config import (
    INTERNAL,
    Config,
)
from serendip.content.config import ContentConfig
from serendip.content.semantic_ids.kmeans import ResidualKMeansConfig
from serendip.data import ActionRules
from serendip.data.events.repeats import RepeatConfig
from serendip.data.items.features import TokenReader
from serendip.data.items.quality import QualityConfig
from serendip.data.store.config import StoreConfig
from serendip.engine.config.experiments import ExperimentConfig
from serendip.engine.config.models import ModelsConfig
from serendip.engine.config.serve import Duration, OptionalDuration, ServeConfig
from serendip.engine.item_pictures import PageConfig
from serendip.engine.listing import AVAILABLE_FROM
from serendip.engine.stages.sources import OWN_SOURCES
from serendip.engine.stages.surfaces import (
    DEFAULT_SURFACES,
    RANKER,
    SurfaceConfig,
    complete_tables,
)
from serendip.files.config import EventsConfig, ItemsConfig, UsersConfig
from serendip.files.names import sounds_private, split_words
from serendip.llm.client import LlmConfig
from serendip.models.context_counts import ContextConfig
from serendip.models.ranker.config import RankerConfig
from serendip.models.retriever.config import UnifiedConfig
from serendip.runtime.executor import ExecutorConfig
from serendip.runtime.sync import Place, SharedFolder, Storage
from serendip.search.config import QueriesConfig, SearchConfig


class StorageConfig(Config):
    """``[storage]``: where generations lie that several machines share."""

    url: str = ""
    """`s3://bucket/prefix`, `gs://bucket/prefix`, or the whole path of a folder that all machines
    mount. Credentials come from the environment. The folder `generations` of the workspace then has
    checksummed copies. Empty = it is the only place."""

    def place(self, folder: Path) -> Place:
        """Where the generations of a folder lie.

        Raises:
            ConfigError: the URL cannot be used.
        """
        return _open(folder, self.url) if self.url else folder


@lru_cache
def _open(folder: Path, url: str) -> SharedFolder:
    return SharedFolder(folder, Storage(url))  # one for a whole process: it keeps connections open


class StalenessConfig(Config):
    """``[train.stale]``: when a generation is stale. One rule is enough.

    `serendip train --if-stale` trains then. Two more rules have
    no setting: a generation is stale if the settings that it learned from are others now, or if
    events were imported again or erased.
    """

    max_age: OptionalDuration = "24h"
    """Age from which a generation is stale, such as ``7d``, if anything is new; ``never`` = no age
    is too old."""

    new_share: float = Field(default=0.1, ge=0)
    """Share of the events, or of the items, that it was trained on, from which new ones make it
    stale. 0 = no share."""

    retry: Duration = "1h"
    """Time after which a training that a gate refused, or that failed, is tried again; twice as
    long after each further one, up to a week."""


class TrainConfig(Config):
    """``[train]``: trainings as a whole."""

    budget: OptionalDuration = None
    """Time for a training, such as ``10m``, ``90s`` or ``1.5h``, measured by the clock on the wall.
    Each model that learns step by step may take half of the time that is left when its training
    begins; it lowers its learning rate in time and ends at its best point so far. Other steps
    cannot be cut short. A training that ends within its time is not changed. None = unlimited.
    """

    stale: StalenessConfig = StalenessConfig()
    """When a generation is stale."""


class GateConfig(Config):
    """``[gate]``: what a new generation must pass to be published."""

    margin: float = Field(default=0.05, ge=0, lt=1)
    """Largest tolerated loss of nDCG@10 on any surface and any slice of it, as a share of that of
    the generation in force. A loss counts if its interval, for all comparisons together, lies below
    0, and only where both trainings were asked about at least 50 common users."""

    least_kept_items: float = Field(default=0.9, ge=0, le=1)
    """Smallest share of the items of the generation in force that the new one must have, so that
    an items file that was cut off is not published. Ten items may always go, and those that were
    deleted or erased one by one. Less for a catalogue that turns over faster; 0 = any may go."""

    list_margin: Annotated[float, INTERNAL] = Field(default=0.15, ge=0, le=1)
    """Largest tolerated loss of a measure of what people see, such as the likeness of similar items
    or the share of the first five that have what a search names, as a share of that of the
    generation in force. A loss counts if its interval, for all measures together, lies below 0. 1 =
    any loss is tolerated."""


class Settings(Config):
    """Everything in ``serendip.toml``."""

    items: ItemsConfig = ItemsConfig()
    """The items file."""

    events: EventsConfig = EventsConfig()
    """The events file."""

    users: UsersConfig = UsersConfig()
    """The users file."""

    store: StoreConfig = StoreConfig()
    """The database of items, users, keys and events."""

    actions: ActionRules = ActionRules()
    """Classes of events: ignored, likes, negative."""

    repeats: RepeatConfig = RepeatConfig()
    """When items that a user chose may be recommended again."""

    content: ContentConfig = ContentConfig()
    """Content vectors of items: the encoders and the fields that they encode."""

    semantic_ids: ResidualKMeansConfig = ResidualKMeansConfig()
    """Residual k-means of the semantic IDs."""

    quality: QualityConfig = QualityConfig()
    """Columns of the catalogue that tell how good items are."""

    models: ModelsConfig = ModelsConfig()
    """The models that propose and score candidates."""

    unified: UnifiedConfig = UnifiedConfig()
    """Task groups: which tasks share a retriever."""

    context: ContextConfig = ContextConfig()
    """What is read of the context of a request: country, device, time."""

    ranker: RankerConfig = RankerConfig()
    """The unified ranker."""

    train: TrainConfig = TrainConfig()
    """Trainings as a whole: their time, and when they are due."""

    search: SearchConfig = SearchConfig()
    """Lexical search, query understanding and the fusion of search results."""

    queries: QueriesConfig = QueriesConfig()
    """Query suggestions."""

    llm: LlmConfig = LlmConfig()
    """The LLM that offline commands call."""

    gate: GateConfig = GateConfig()
    """What a new generation must pass to be published."""

    engine: ExecutorConfig = ExecutorConfig()
    """Where jobs run: processes of this machine, or a cluster."""

    page: PageConfig = PageConfig()
    """The page for people: pictures of items."""

    storage: StorageConfig = StorageConfig()
    """Where generations lie that several machines share."""

    serve: ServeConfig = ServeConfig()
    """Who may reach the service, and how much waits. `serendip serve` reads it when it starts."""

    surfaces: dict[str, SurfaceConfig] = Field(default_factory=dict)
    """Surfaces that differ from the defaults, and further ones."""

    experiments: dict[str, ExperimentConfig] = Field(default_factory=dict)
    """Experiments: settings of surfaces that are compared on a share of the users each."""

    @field_validator("ranker")
    @classmethod
    def _predicts_interest(cls, ranker: RankerConfig) -> RankerConfig:
        # Surfaces weigh it by default, and bids are paid for it.
        if "interact" not in ranker.actions:
            raise ValueError("actions must contain 'interact'")
        if len(set(ranker.actions)) < len(ranker.actions):
            raise ValueError("actions contains an action twice")
        return ranker

    @field_validator("surfaces", mode="before")
    @classmethod
    def _complete(cls, tables: Any) -> Any:
        return complete_tables(tables) if isinstance(tables, Mapping) else tables

    @field_validator("surfaces")
    @classmethod
    def _known_names(
        cls, surfaces: dict[str, SurfaceConfig], info: ValidationInfo
    ) -> dict[str, SurfaceConfig]:
        models = tuple(info.data.get("models", ModelsConfig()).tables)
        ranker = info.data.get("ranker", RankerConfig())
        for name, surface in surfaces.items():
            _require_known(f"{name}.sources", surface.sources, (*models, *OWN_SOURCES))
            _require_known(f"{name}.scorer", [surface.scorer], (RANKER, *models))
            _require_known(f"{name}.action_weights", surface.own_actions, ranker.actions)
            valued = surface.item_value.actions if surface.item_value else ()
            _require_known(f"{name}.item_value.actions", valued, ranker.actions)
            paid_actions = [surface.sponsored.action] if surface.sponsored else []
            _require_known(f"{name}.sponsored.action", paid_actions, ranker.actions)
        return surfaces

    @field_validator("experiments")
    @classmethod
    def _of_one_kind(
        cls, experiments: dict[str, ExperimentConfig], info: ValidationInfo
    ) -> dict[str, ExperimentConfig]:
        surfaces = {**DEFAULT_SURFACES, **info.data.get("surfaces", {})}
        for name, experiment in experiments.items():
            _require_known(name, experiment.all_surfaces, tuple(surfaces))
            used = [surfaces[surface] for surface in experiment.all_surfaces]
            kinds = {(surface.needs, surface.sponsored is not None) for surface in used}
            if len(kinds) > 1 or (experiment.interleave and used[0].sponsored):
                raise ValueError(
                    f"the surfaces of {name!r} must need the same of a request, and all or none of "
                    "them sell positions, none of those that are interleaved"
                )
        return experiments

    def learned_from(self) -> dict[str, Any]:
        """Everything that decides what is learned, as plain values: not the database, the storage,
        the LLM, the page, the service, the gate, the engine, experiments or when a training is due.
        """
        left_out: Any = {"train": {"stale"}}
        places = ("store", "storage")
        others = ("llm", "page", "serve", "gate", "engine", "experiments")
        left_out |= dict.fromkeys((*places, *others), True)
        return self.model_dump(mode="json", exclude=left_out)

    @property
    def named_numbers(self) -> tuple[str, ...]:
        """Attributes of items that are numbers by these settings: prices first, then quality."""
        prices, quality = (*self.items.units, *self.items.decimals), self.quality
        named = (*prices, quality.rating, quality.reviews)
        return tuple(name for name in dict.fromkeys(named) if name)

    def is_public(self, attribute: str) -> bool:
        """Whether people see an attribute of items on the page, and may filter and sort by it."""
        if self.page.attributes is not None:
            return attribute in (*self.page.attributes, AVAILABLE_FROM)
        surfaces = self.surfaces.values()
        bids = {surface.sponsored.bid for surface in surfaces if surface.sponsored}
        worths = {surface.item_value.attribute for surface in surfaces if surface.item_value}
        is_worth = attribute in worths and "price" not in split_words(attribute)
        return not (attribute in bids or is_worth or sounds_private(attribute))

    @property
    def token_reader(self) -> TokenReader:
        """Reads words and attribute values of items, for a retriever with a token table."""
        return TokenReader(self.content.fields, self.models.retriever.attributes)

    def all_surfaces(self) -> dict[str, SurfaceConfig]:
        """Name -> surface, the built-in ones included."""
        surfaces = {**DEFAULT_SURFACES, **self.surfaces}
        return {name: surface.with_name(name) for name, surface in surfaces.items()}


def _require_known(key: str, names: Iterable[str], allowed: Sequence[str]) -> None:
    for name in names:
        if name not in allowed:
            raise ValueError(f"{key} names {name!r}; use one of {', '.join(allowed)}")
