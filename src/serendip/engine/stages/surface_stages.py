"""The stages of a surface, in the order in which a request runs through them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from serendip.engine.stages.base import ListFilter, ListRule, Stage
from serendip.engine.stages.diversity import DiversityRule
from serendip.engine.stages.exploration import ExplorationRule
from serendip.engine.stages.filters import REQUEST_FILTERS, Filter, filters_of
from serendip.engine.stages.list_filters import MinValueFilter, RelevanceFilter, VariantFilter
from serendip.engine.stages.sources import Source, WordSource, source_named
from serendip.engine.stages.sponsored import SponsoredRule
from serendip.engine.stages.surfaces import SurfaceConfig


@dataclass(frozen=True, slots=True)
class SurfaceStages:
    """The stages that the configuration of a surface names.

    Args:
        request_filters: of every surface; they read the whole request.
        filters: read the parts of the request that the surface reads.
        sources: propose candidates.
        list_filters: remove ordered candidates.
        list_rules: fill positions of the slate, the first that names a row decides.
    """

    request_filters: tuple[Filter, ...]
    filters: tuple[Filter, ...]
    sources: tuple[Source, ...]
    list_filters: tuple[ListFilter, ...]
    list_rules: tuple[ListRule, ...]

    @classmethod
    def of(cls, surface: SurfaceConfig) -> Self:
        """Build the stages of a surface; a table that is not there adds no stage."""
        relevance = RelevanceFilter(surface.relevance_filter, surface.min_value)
        list_filters: list[ListFilter] = [relevance, VariantFilter()]
        if surface.min_value is not None:  # it counts what is left to be sent
            list_filters.append(MinValueFilter(surface.min_value))
        list_rules: list[ListRule] = []
        if surface.sponsored is not None:
            list_rules.append(SponsoredRule(surface.sponsored))
        if surface.exploration is not None and surface.exploration.share:
            list_rules.append(ExplorationRule(surface.exploration))
        if surface.diversity is not None:
            list_rules.append(DiversityRule(surface.diversity))
        # Words first: models score the hits that they leave in the batch.
        sources = sorted(surface.sources, key=lambda name: name != WordSource.name)
        return cls(
            REQUEST_FILTERS,
            filters_of(surface),
            tuple(map(source_named, sources)),
            tuple(list_filters),
            tuple(list_rules),
        )

    def __iter__(self) -> Iterator[Stage]:
        yield from self.request_filters
        yield from self.filters
        yield from self.sources
        yield from self.list_filters
        yield from self.list_rules
