"""Which surfaces have the relevance filter in a generation, and why the others have none.

A surface has it if its settings name a threshold, or if ``serendip judge distil`` has proven one
for lists like its own: labels of typed texts are a proof for the surfaces that answer these, and
labels of a surface's own lists (``serendip judge lists``) are one for that surface. On labels that
the threshold was not chosen by, the irrelevant share must fall and hardly any relevant item may be
hidden, or hardly anything but irrelevant ones. The decision is made in training and is a part of
the manifest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import TYPED_TEXTS
from serendip.errors import DataError
from serendip.evaluate.decision import Decision
from serendip.jobs.context import JobContext
from serendip.jobs.relevance.model import RelevanceTexts

MOST_LOST, MOST_WRONG = 0.05, 0.2
"""Share of the relevant items that a filter may hide, or else share of what it hides that may be
relevant: upper ends of their 95 % intervals. Where half of a list is irrelevant, a filter that is
right four times in five helps, although it hides more than one relevant item in twenty."""

NAME = "relevance filter: "
PROVEN = "labels prove the threshold"
GOAL = "fewer irrelevant items and hardly a relevant one less"
"""What a threshold is chosen for."""


Reports = Mapping[str, Mapping[str, Any]]
"""Surface of the labels -> report of the relevance model."""


def decide_filters(
    context: JobContext, reports: Reports
) -> tuple[dict[str, Decision], dict[str, float], list[str]]:
    """Decide for all surfaces.

    Returns:
        surface -> its decision; surface -> the threshold that labels prove; and the relevance
        models that surfaces need, by the surface of their labels.

    Raises:
        DataError: a surface names a threshold, and there is no relevance model, or it was trained
            on other fields or with another encoder.
    """
    surfaces, reads = context.settings.all_surfaces(), RelevanceTexts(context).reads
    decisions, proven, needed = {}, dict[str, float](), dict[str, None]()
    for surface, config in surfaces.items():
        own = config.relevance_filter.labels
        obstacle = _find_obstacle(own, reports, reads, surfaces.get(own))
        threshold, reason = _decide(config, obstacle, reports.get(own, {}))
        is_on = threshold is not None
        state = "off" if threshold is None else f"on from {threshold:.3f}"
        decisions[surface] = Decision(f"{NAME}{surface}", is_on, reason=f"{state}: {reason}")
        if threshold is None:
            continue
        if not _names_threshold(config):
            proven[surface] = threshold
        used = own if own in reports else TYPED_TEXTS
        if unusable := _find_obstacle(used, reports, reads):
            raise DataError(
                f"surfaces.{surface}.relevance_filter has a threshold, and {unusable}.",
                "Run `serendip judge distil`.",
            )
        needed[used] = None
    return decisions, proven, [*needed]


def filtered_surfaces(decisions: Iterable[Decision]) -> list[str]:
    """The surfaces that decisions of a generation filter."""
    return [
        one.name.removeprefix(NAME) for one in decisions if one.on and one.name.startswith(NAME)
    ]


def _names_threshold(config: SurfaceConfig) -> bool:
    chosen = config.relevance_filter
    return chosen.enabled and chosen.threshold is not None


def _find_obstacle(
    labels: str, reports: Reports, reads: str, surface: SurfaceConfig | None = None
) -> str:
    """Why no surface can use the model of some labels by itself; empty = it can."""
    if labels in reports:
        trained = reports[labels]["reads"]
        return "" if trained == reads else f"the model was trained on {trained}, not {reads}"
    if labels == TYPED_TEXTS:
        return "there is no relevance model (`serendip judge distil`)"
    if surface is None or surface.needs == "items":
        return "its lists cannot be labelled: the log has no items of requests"
    return f"there are no labels of its lists (`serendip judge lists --surface {labels}`)"


def _decide(
    config: SurfaceConfig, obstacle: str, report: Mapping[str, Any]
) -> tuple[float | None, str]:
    """The smallest P(irrelevant) that is removed, None = nothing is; and why."""
    chosen = config.relevance_filter
    if not chosen.enabled:
        return None, "the settings switch it off"
    if _names_threshold(config):
        return chosen.threshold, "the settings name the threshold"
    if obstacle:
        return None, obstacle
    proof = report["filter"]
    if against := reason_against_proof(proof):
        return None, against
    return proof["safe_threshold"], f"{PROVEN} for {GOAL}"


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
