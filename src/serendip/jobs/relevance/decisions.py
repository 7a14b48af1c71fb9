"""Which surfaces have the relevance filter in a generation, and why the others have none.

A surface has it if its settings name a threshold, or if ``serendip judge distil`` has proven one
for lists like its own: the labels are of typed texts and items, so the proof is for surfaces that
answer typed texts. A bound of the irrelevant share is not enough, as a filter that hides nearly
everything keeps it: on labels that the threshold was not chosen by, the irrelevant share must fall
and hardly any relevant item may be hidden. The decision is made in training and is a part of the
manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.errors import ArtefactError, NotTrainedError, UnsupportedError
from serendip.jobs.context import JobContext
from serendip.jobs.relevance.versions import (
    RelevanceTexts,
    current_model_name,
    open_current_version,
)
from serendip.runtime.versions import Version

FILTERS_KEY = "relevance_filters"

MOST_LOST = 0.05
"""Share of the relevant items that a filter may hide: upper end of its 95 % interval."""

NAMED, PROVEN = "the settings name the threshold", "labels prove the threshold"


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


def decide_filters(context: JobContext) -> tuple[dict[str, FilterDecision], Version | None]:
    """Decide for all surfaces; the relevance model is None if no surface needs it.

    Raises:
        ArtefactError: a surface names a threshold, and the relevance model is damaged.
        NotTrainedError: a surface names a threshold, and there is no relevance model.
    """
    surfaces = context.settings.all_surfaces()
    named = [name for name, one in surfaces.items() if _names_threshold(one)]
    version, unusable = _open_model(context, must_open=bool(named))
    decisions = {
        surface: _decide(config, version, unusable) for surface, config in surfaces.items()
    }
    if not any(decision.on for decision in decisions.values()):
        return decisions, None
    if version is None:
        raise NotTrainedError(
            f"surfaces.{named[0]}.relevance_filter has a threshold, and "
            f"{context.workspace.relevance} has no relevance model.",
            "Run `serendip judge distil` first.",
        )
    return decisions, version


def _names_threshold(config: SurfaceConfig) -> bool:
    chosen = config.relevance_filter
    return chosen.enabled and chosen.threshold is not None


def _open_model(context: JobContext, must_open: bool) -> tuple[Version | None, str]:
    """The relevance model, None without one, and why no surface can use it by itself."""
    folder = context.workspace.relevance
    try:
        version = open_current_version(folder) if current_model_name(folder) else None
    except ArtefactError as error:
        if must_open:
            raise
        return None, f"{error.message} (`serendip judge distil`)"
    return version, _reason_against(context, version)


def _decide(config: SurfaceConfig, version: Version | None, unusable: str) -> FilterDecision:
    chosen = config.relevance_filter
    if not chosen.enabled:
        return FilterDecision.off("the settings switch it off")
    if _names_threshold(config):
        return FilterDecision(True, chosen.threshold, NAMED)
    if version is None or unusable:
        return FilterDecision.off(unusable)
    if config.needs != "query":
        return FilterDecision.off("the labels are of typed texts, which it does not answer")
    proof = version.manifest["filter"]
    goal = f"at most {proof['allowed']:.0%} irrelevant at a confidence of {proof['confidence']:.0%}"
    if proof["safe_threshold"] is None:
        return FilterDecision.off(f"no threshold is proven for {goal}")
    against = reason_against_effect(proof["safe"])
    return (
        FilterDecision.off(against)
        if against
        else FilterDecision(True, proof["safe_threshold"], f"{PROVEN} for {goal}")
    )


def reason_against_effect(effect: Mapping[str, Any]) -> str:
    """Why a proven threshold is not used; empty = it is.

    Args:
        effect: of the threshold, with intervals, on labels that it was not chosen by.
    """
    if "ci95" not in effect:
        return "an earlier version proved the threshold without its cost (`serendip judge distil`)"
    lost, fall = effect["ci95"]["lost"][1], effect["ci95"]["fall"][0]
    if lost > MOST_LOST:
        return f"it may hide {lost:.0%} of the relevant items, more than {MOST_LOST:.0%}"
    return "" if fall > 0 else "it is not proven to lower the irrelevant share"


def _reason_against(context: JobContext, version: Version | None) -> str:
    """Why no surface can use the model by itself; empty = it can."""
    if version is None:
        return "there is no relevance model (`serendip judge distil`)"
    try:
        reads = RelevanceTexts(context).reads
    except UnsupportedError as error:
        return error.message
    trained = version.manifest["reads"]
    return "" if trained == reads else f"{version.name} was trained on {trained}, not {reads}"


def read_decisions(manifest: Mapping[str, Any]) -> dict[str, FilterDecision]:
    """The decisions of a generation; empty if its version did not write any."""
    return {
        surface: FilterDecision(**facts) for surface, facts in manifest.get(FILTERS_KEY, {}).items()
    }


def describe_decisions(decisions: Mapping[str, FilterDecision]) -> list[str]:
    """One line for each different decision, with the surfaces that share it."""
    lines: dict[str, list[str]] = {}
    for surface, decision in decisions.items():
        lines.setdefault(decision.describe(), []).append(surface)
    return [f"{', '.join(surfaces)}: {text}" for text, surfaces in lines.items()]


def decisions_as_dict(decisions: Mapping[str, FilterDecision]) -> dict[str, Any]:
    """For the manifest."""
    return {surface: asdict(decision) for surface, decision in decisions.items()}
