"""Which surfaces have the relevance filter in a generation, and why the others have none.

A surface has it if its settings name a threshold, or if ``serendip judge distil`` has proven one
for lists like its own: labels of typed texts are a proof for the surfaces that answer these, and
labels of a surface's own lists (``serendip judge lists``) are one for that surface. On labels that
the threshold was not chosen by, the irrelevant share must fall and hardly any relevant item may be
hidden, or hardly anything but irrelevant ones. The decision is made in training and is a part of
the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeAlias

from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import TYPED_TEXTS
from serendip.errors import ArtefactError, NotTrainedError
from serendip.jobs.context import JobContext
from serendip.jobs.relevance.versions import (
    RelevanceTexts,
    current_model_name,
    model_folder,
    open_current_version,
)
from serendip.runtime.versions import Version

FILTERS_KEY, MODELS_KEY = "relevance_filters", "relevance_models"

MOST_LOST, MOST_WRONG = 0.05, 0.2
"""Share of the relevant items that a filter may hide, or else share of what it hides that may be
relevant: upper ends of their 95 % intervals. Where half of a list is irrelevant, a filter that is
right four times in five helps, although it hides more than one relevant item in twenty."""

NAMED, PROVEN = "the settings name the threshold", "labels prove the threshold"
GOAL = "fewer irrelevant items and hardly a relevant one less"
"""What a threshold is chosen for."""


@dataclass(frozen=True, slots=True)
class FilterDecision:
    """Whether a surface is filtered.

    Args:
        on: whether it is.
        threshold: smallest P(irrelevant) that is removed; None = nothing is.
        reason: why it is, or is not.
    """

    on: bool
    threshold: float | None
    reason: str

    @classmethod
    def off(cls, reason: str) -> Self:
        """No filter, and why."""
        return cls(False, None, reason)

    def describe(self) -> str:
        """A few words for people."""
        state = "off" if self.threshold is None else f"on from {self.threshold:.3f}"
        return f"{state}: {self.reason}"


_Usable: TypeAlias = tuple[Version | None, str]
"""A relevance model, if there is one, and why no surface can use it by itself; "" = it can."""


def decide_filters(context: JobContext) -> tuple[dict[str, FilterDecision], dict[str, Version]]:
    """Decide for all surfaces.

    Returns:
        the decisions, and the relevance models that they need by the surface of their labels.

    Raises:
        ArtefactError: a surface names a threshold, and its relevance model is damaged.
        NotTrainedError: a surface names a threshold, and there is no relevance model.
    """
    surfaces = context.settings.all_surfaces()
    labels = {TYPED_TEXTS: any(map(_names_threshold, surfaces.values()))}
    for config in surfaces.values():
        own = config.relevance_filter.labels
        labels[own] = labels.get(own, False) or _names_threshold(config)
    models = {name: _open_model(context, name, must_open) for name, must_open in labels.items()}
    decisions, needed = {}, {}
    for surface, config in surfaces.items():
        own = config.relevance_filter.labels
        decisions[surface] = decision = _decide(config, models[own])
        if not decision.on:
            continue
        used = own if models[own][0] is not None else TYPED_TEXTS
        version, _ = models[used]
        if version is None:
            raise NotTrainedError(
                f"surfaces.{surface}.relevance_filter has a threshold, and "
                f"{context.workspace.relevance} has no relevance model.",
                "Run `serendip judge distil` first.",
            )
        needed[used] = version
    return decisions, needed


def _names_threshold(config: SurfaceConfig) -> bool:
    chosen = config.relevance_filter
    return chosen.enabled and chosen.threshold is not None


def _open_model(context: JobContext, labels: str, must_open: bool) -> _Usable:
    folder = model_folder(context.workspace, labels)
    try:
        version = open_current_version(folder) if current_model_name(folder) else None
    except ArtefactError as error:
        if must_open:
            raise
        return None, f"{error.message} (`serendip judge distil`)"
    if version is not None:
        reads, trained = RelevanceTexts(context).reads, version.manifest["reads"]
        against = f"{version.name} was trained on {trained}, not {reads}"
        return version, "" if trained == reads else against
    config = context.settings.all_surfaces().get(labels)
    if labels == TYPED_TEXTS:
        return None, "there is no relevance model (`serendip judge distil`)"
    if config is None or config.needs == "items":
        return None, "its lists cannot be labelled: the log has no items of requests"
    return None, f"there are no labels of its lists (`serendip judge lists --surface {labels}`)"


def _decide(config: SurfaceConfig, model: _Usable) -> FilterDecision:
    chosen = config.relevance_filter
    if not chosen.enabled:
        return FilterDecision.off("the settings switch it off")
    if _names_threshold(config):
        return FilterDecision(True, chosen.threshold, NAMED)
    version, unusable = model
    if version is None or unusable:
        return FilterDecision.off(unusable)
    proof = version.manifest["filter"]
    if against := reason_against_proof(proof):
        return FilterDecision.off(against)
    return FilterDecision(True, proof["safe_threshold"], f"{PROVEN} for {GOAL}")


def reason_against_proof(proof: Mapping[str, Any]) -> str:
    """Why the threshold of a relevance model is not used; empty = it is."""
    if proof["safe_threshold"] is None:
        return f"no threshold is proven for {GOAL}"
    ends = proof["safe"]["ci95"]  # on labels that the threshold was not chosen by
    lost, wrong, fall = ends["lost"][1], ends["wrong"][1], ends["fall"][0]
    if lost > MOST_LOST and wrong > MOST_WRONG:
        return (
            f"it may hide {lost:.0%} of the relevant items, more than {MOST_LOST:.0%}, and "
            f"{wrong:.0%} of what it hides may be relevant, more than {MOST_WRONG:.0%}"
        )
    return "" if fall > 0 else "it is not proven to lower the irrelevant share"


def read_decisions(manifest: Mapping[str, Any]) -> dict[str, FilterDecision]:
    """The decisions of a generation; empty if its version did not write any."""
    return {
        surface: FilterDecision(**facts) for surface, facts in manifest.get(FILTERS_KEY, {}).items()
    }


def decisions_as_dict(decisions: Mapping[str, FilterDecision]) -> dict[str, Any]:
    """For the manifest."""
    return {surface: asdict(decision) for surface, decision in decisions.items()}
