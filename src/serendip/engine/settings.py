"""All settings of a workspace: the tables of ``serendip.toml``.

Each table is the config of one component and lives beside it; this file only names the tables.
A missing table has its defaults, an unknown key is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from serendip.config import Config
from serendip.content.config import ContentConfig
from serendip.content.semantic_ids.kmeans import ResidualKMeansConfig
from serendip.data.event import ActionRules
from serendip.data.files.readers import EventsConfig, ItemsConfig
from serendip.data.item_features import TokenReader
from serendip.engine.item_pictures import PageConfig
from serendip.engine.models_config import ModelsConfig
from serendip.engine.stages.sources import OWN_SOURCES
from serendip.engine.stages.surfaces import DEFAULT_SURFACES, RANKER, SurfaceConfig, completed
from serendip.llm.config import LlmConfig
from serendip.models.ranker.config import RankerConfig
from serendip.models.retriever.config import UnifiedConfig
from serendip.search.config import SearchConfig
from serendip.search.suggestions.config import QueriesConfig


class EvaluationConfig(Config):
    """``[evaluation]``: what the report is made from."""

    cuts: tuple[float, ...] = Field(default=(0.7, 0.8, 0.9), min_length=1)
    """Fractions of the time-ordered events; each part is judged up to the next cut."""

    leave_last_out: bool = True
    """Also judge the last event of each user, for comparison with papers."""


class Settings(Config):
    """Everything in ``serendip.toml``."""

    items: ItemsConfig = ItemsConfig()
    """The items file."""

    events: EventsConfig = EventsConfig()
    """The events file."""

    actions: ActionRules = ActionRules()
    """Which events count, and which as likes."""

    content: ContentConfig = ContentConfig()
    """The encoders and the fields that they read."""

    semantic_ids: ResidualKMeansConfig = ResidualKMeansConfig()
    """The codebooks."""

    models: ModelsConfig = ModelsConfig()
    """The recommenders."""

    unified: UnifiedConfig = UnifiedConfig()
    """Which tasks share a retriever."""

    ranker: RankerConfig = RankerConfig()
    """The unified ranker."""

    search: SearchConfig = SearchConfig()
    """The word index, and how its lists are fused."""

    queries: QueriesConfig = QueriesConfig()
    """Which queries are worth suggesting."""

    llm: LlmConfig = LlmConfig()
    """The LLM that offline commands ask."""

    evaluation: EvaluationConfig = EvaluationConfig()
    """The report."""

    page: PageConfig = PageConfig()
    """The page for people: pictures of items."""

    surfaces: dict[str, SurfaceConfig] = Field(default_factory=dict)
    """Surfaces that differ from the defaults, and further ones."""

    @field_validator("ranker")
    @classmethod
    def _predicts_interest(cls, ranker: RankerConfig) -> RankerConfig:
        """Surfaces weigh it by default, and bids are paid for it."""
        if "interact" not in ranker.actions:
            raise ValueError("actions must name 'interact' beside others")
        if len(set(ranker.actions)) < len(ranker.actions):
            raise ValueError("actions names one twice")
        return ranker

    @field_validator("surfaces", mode="before")
    @classmethod
    def _complete(cls, tables: Any) -> Any:
        return completed(tables) if isinstance(tables, Mapping) else tables

    @field_validator("surfaces")
    @classmethod
    def _known_names(
        cls, surfaces: dict[str, SurfaceConfig], info: ValidationInfo
    ) -> dict[str, SurfaceConfig]:
        """Sources and actions are those that exist."""
        models = tuple(info.data.get("models", ModelsConfig()).tables)
        ranker = info.data.get("ranker", RankerConfig())
        for name, one in surfaces.items():
            _require_known(f"{name}.sources", one.sources, (*models, *OWN_SOURCES))
            _require_known(f"{name}.scorer", [one.scorer], (RANKER, *models))
            _require_known(f"{name}.action_weights", one.action_weights, ranker.actions)
            paid = [one.sponsored.action] if one.sponsored else []
            _require_known(f"{name}.sponsored.action", paid, ranker.actions)
        return surfaces

    def learned_from(self) -> dict[str, Any]:
        """Everything that decides what is learned, as plain values: not the LLM, not the page."""
        return self.model_dump(mode="json", exclude={"llm", "page"})

    @property
    def token_reader(self) -> TokenReader:
        """What of an item is read beside its vector, by a retriever with a table for it."""
        return TokenReader(self.content.fields, self.models.retriever.attributes)

    def all_surfaces(self) -> dict[str, SurfaceConfig]:
        """Surface name -> how it is answered, defaults included; these weigh what is predicted."""
        predicted = self.ranker.actions
        defaults = {
            name: surface.with_actions(predicted) for name, surface in DEFAULT_SURFACES.items()
        }
        return {**defaults, **self.surfaces}


def _require_known(place: str, names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{place} names {name!r}; known are {', '.join(known)}")
