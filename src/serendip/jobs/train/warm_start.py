"""Warm start: whether a training continues from the generation in force.

It does if what that generation learned still means the same and is still allowed: the learned
settings and the encoder are equal, and no event was erased or imported again since. After the
interactions have grown by half a training starts from nothing once more, as weights that are tuned
on held-back requests are tuned by such a training only.

The fit on the older part of the data continues from that of the earlier training (``older_fit``),
and the one on all data from it, as always. So the candidates that the ranker learns from never
depend on the events that it learns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serendip.jobs.context import JobContext
from serendip.jobs.train.older_fit import OLDER_FOLDER, OlderFit
from serendip.jobs.train.staleness import compare_settings
from serendip.runtime.versions import Version

MOST_GROWTH = 1.5
"""Interactions now, over those at the last training from nothing."""

SAME_TABLES = ("actions", "content", "semantic_ids", "models", "unified")


def describe_encoder(context: JobContext) -> str:
    """Name and version of the text encoder."""
    return f"{context.encoder.name} {context.encoder.version}"


def choose_start(
    context: JobContext, current: Version | None, is_wanted: bool = True
) -> tuple[OlderFit | None, dict[str, Any]]:
    """Decide what the training of a context continues from.

    Args:
        context: of the training.
        current: the generation in force; None = there is none that can be read.
        is_wanted: whether to continue if that is possible.

    Returns:
        the earlier fit, None = from nothing; and facts for the manifest: the ``generation`` that it
        is of (empty = from nothing), the ``reason`` why it starts from nothing (empty = it does
        not, or nobody asked), and the interactions at the last training from nothing (``since``).
    """
    previous, generation, reason, since = None, "", "", len(context.dataset.events)
    if is_wanted and current is None:
        reason = "there is no generation"
    elif is_wanted and current is not None:
        reason = _find_obstacle(context, current)
        previous = None if reason else OlderFit.open(current.folder / OLDER_FOLDER)
        if previous is not None:
            generation, since = current.name, int(_facts(current)["since"])
        else:
            reason = reason or f"{current.name} has no fit to continue from"
    return previous, {"generation": generation, "reason": reason, "since": since}


def _find_obstacle(context: JobContext, current: Version) -> str:
    """Why a training cannot continue from a generation; empty = it can."""
    manifest = current.manifest
    settings = context.settings.learned_from()
    changes = compare_settings(manifest["settings"], settings, SAME_TABLES)
    if changes:
        return f"the setting {changes[0].key} has changed"
    if manifest["encoder"] != describe_encoder(context):
        return f"the encoder was {manifest['encoder']}"
    if manifest["event_removals"] != context.snapshot.event_removals:
        return "events were imported again or erased"
    since, now = int(_facts(current)["since"]), len(context.dataset.events)
    if now > MOST_GROWTH * since:
        return (
            f"the interactions have grown from {since:,} to {now:,} since a training from nothing"
        )
    return ""


def _facts(current: Version) -> Mapping[str, Any]:
    facts: Mapping[str, Any] = current.manifest["warm_start"]
    return facts
