"""Verdict of a report: sentences generated from its numbers.

No sentence is written by hand, so none can contradict the numbers: the words better, worse, no
difference shown and too small to tell come from ``comparison``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serendip.evaluate import comparison
from serendip.evaluate.number_format import number, percent, percent_interval, points

FOUND = "Recall@10"
ORDER = "nDCG@10"
TEMPORAL = "temporal"


def sentences(protocols: Mapping[str, Mapping[str, Any]], noun: str = "item") -> list[str]:
    """What the protocols show, the temporal split first; empty where nothing was judged."""
    ordered = sorted(protocols, key=lambda key: key != TEMPORAL)
    return [line for key in ordered for line in _protocol(key, protocols[key], noun)]


def _protocol(key: str, section: Mapping[str, Any], noun: str) -> list[str]:
    """The lines of one protocol; slices, and who is far above there, for the temporal split."""
    if key != TEMPORAL:
        return _literature(section)
    lines = [*_level(section, noun)]
    for found in section["comparisons"]:
        if found["metric"] == FOUND:
            lines.append(_difference(found))
    lines += _by_order(section["comparisons"])
    lines += _slices(section, noun)
    lines += _far_below(section)
    return lines


def _level(section: Mapping[str, Any], noun: str) -> list[str]:
    subject = section["subject"]
    found = section["systems"][subject].get(FOUND)
    if found is None or found["value"] is None:
        return [f"On the temporal split nothing could be judged: there is no {noun} to find."]
    return [
        f"On the temporal split the {subject} has the next {noun} in its first ten for "
        f"{percent(found['value'])} of requests (95 % CI {percent_interval(found)}, "
        f"mean over {number(found['n'])} users)."
    ]


def _difference(found: Mapping[str, Any]) -> str:
    """One paired difference of shares, in points, with its word."""
    names = f"{found['system']} against {found['baseline']}"
    if found["difference"] is None:
        return f"{names}: {found['verdict']}, for there is no user to compare by."
    side = "above" if found["difference"] >= 0 else "below"
    text = (
        f"That is {points(abs(found['difference'])).lstrip('+')} points {side} "
        f"{found['baseline']} (95 % CI of the paired difference {points(found['low'])} to "
        f"{points(found['high'])}, n = {number(found['n'])}): {found['verdict']}"
    )
    if found["verdict"] == comparison.TOO_SMALL:
        smallest = points(found["minimum_detectable"]).lstrip("+")
        return f"{text}; only a difference of {smallest} points or more would show."
    return f"{text}."


def _by_order(comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    """One sentence that sorts the baselines by the word they got in nDCG@10."""
    groups: dict[str, list[str]] = {}
    for found in comparisons:
        if found["metric"] == ORDER:
            groups.setdefault(found["verdict"], []).append(found["baseline"])
    if not groups:
        return []
    forms = {
        comparison.BETTER: "better than {}",
        comparison.WORSE: "worse than {}",
        comparison.NO_DIFFERENCE: "no difference shown to {}",
        comparison.TOO_SMALL: "too small to tell from {}",
    }
    parts = [forms[word].format(_listed(groups[word])) for word in forms if word in groups]
    return [f"By the order of the ten ({ORDER}): {'; '.join(parts)}."]


def _slices(section: Mapping[str, Any], noun: str) -> list[str]:
    """How the subject fares where recommenders usually fail."""
    parts = []
    for name in ("cold items", "tail items", "cold users"):
        part = section["slices"].get(name)
        if part is None:
            continue
        found = part["systems"][section["subject"]].get(FOUND)
        if found is None or found["value"] is None:
            parts.append(f"no request for {name}")
            continue
        parts.append(
            f"{percent(found['value'])} for {name} ({percent_interval(found)}, "
            f"n = {number(found['n'])} users)"
        )
    if not parts:
        return []
    return [f"Where it is hard, the next {noun} is in the first ten: {'; '.join(parts)}."]


def _far_below(section: Mapping[str, Any]) -> list[str]:
    """One sentence for each slice of items where the subject's interval ends below a model's."""
    lines = []
    for name in ("cold items", "tail items"):
        systems = section["slices"].get(name, {"systems": {}})["systems"]
        found = {one: estimates[FOUND] for one, estimates in systems.items() if FOUND in estimates}
        own = found.pop(section["subject"], None)
        if own is None or own["high"] is None:
            continue
        above = [one for one in found if (found[one]["low"] or 0.0) > own["high"]]
        above.sort(key=lambda one: -found[one]["value"])
        if above:
            shares = [
                f"{one} with {percent(found[one]['value'])} ({percent_interval(found[one])})"
                for one in above
            ]
            lines.append(
                f"For {name} the {section['subject']} is far below {_listed(shares)}: "
                "the intervals do not overlap."
            )
    return lines


def _literature(section: Mapping[str, Any]) -> list[str]:
    found = section["systems"][section["subject"]]
    values = [
        f"{label} {number(found[label]['value'])}"
        for label in (FOUND, ORDER)
        if label in found and found[label]["value"] is not None
    ]
    if not values:
        return []
    return [
        f"{section['label']}. There the {section['subject']} has {' and '.join(values)} over "
        f"{number(section['n_users'])} users; no claim rests on these."
    ]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
