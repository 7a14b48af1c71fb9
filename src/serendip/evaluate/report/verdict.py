"""Verdict of a report: at most five sentences that follow from its numbers.

No sentence is written by hand, so none can contradict the numbers: the verdicts better, worse, no
difference shown and too small to tell are those of ``comparison``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serendip.evaluate import comparison
from serendip.evaluate.number_format import hundredths, interval, number, percent

FOUND, ORDER = "Recall@10", "nDCG@10"
"""Metrics of the sentences: of found targets, and of the order of the first ten."""

_HARD = ("cold items", "tail items", "cold users")

_FORMS = {
    comparison.BETTER: "better than {}",
    comparison.WORSE: "worse than {}",
    comparison.NO_DIFFERENCE: "no difference shown to {}",
    comparison.TOO_SMALL: "too small to tell from {}",
}
"""Verdict -> the baselines that it holds for, in words."""


def describe_report(report: Mapping[str, Any]) -> list[str]:
    """The sentences of a report (see ``document``); none where nothing was judged."""
    home, lines = report["surfaces"].get("home"), []
    if home is not None and home["subject"]:
        lines.append(_describe_quality(home, report["split"]))
        lines.append(_describe_order(home))
        lines.append(_describe_hard_slices(home))
    if report["surfaces"]:
        parts = [_describe_surface(*named) for named in report["surfaces"].items()]
        lines.append(f"Surfaces by {ORDER}, against their baselines: {'; '.join(parts)}.")
    lines.append(_describe_wrong_lists(report["lists"]))
    return [line for line in lines if line]


def _describe_quality(section: Mapping[str, Any], split: Mapping[str, Any]) -> str:
    subject = section["subject"]
    recall = section["systems"][subject].get(FOUND)
    if recall is None or recall["value"] is None:
        return "On the temporal split nothing could be judged: there is no item to find."
    rest = ""
    if split and split["users"] < split["all_users"]:
        users = f"{number(split['users'])} of {number(split['all_users'])}"
        rest = f"; a random {users} users were judged, `serendip evaluate --full` judges all"
    return (
        f"On the temporal split the {subject} has the next item in its first ten for "
        f"{percent(recall['value'])} of requests (95 % CI {interval(recall, hundredths)}, "
        f"mean over {number(recall['n'])} users){rest}."
    )


def _describe_order(section: Mapping[str, Any]) -> str:
    groups: dict[str, list[str]] = {}
    for row in section["comparisons"]:
        if row["metric"] == ORDER:
            groups.setdefault(row["verdict"], []).append(row["baseline"])
    verdicts = [
        form.format(_join_names(groups[verdict]))
        for verdict, form in _FORMS.items()
        if verdict in groups
    ]
    return f"By the order of the ten ({ORDER}) it is {', '.join(verdicts)}." if verdicts else ""


def _describe_hard_slices(section: Mapping[str, Any]) -> str:
    """The subject's recall where it is hard, and the systems whose interval lies above its own."""
    parts = list[str]()
    for name in filter(section["slices"].__contains__, _HARD):
        recalls = {
            system: metrics[FOUND]
            for system, metrics in section["slices"][name]["systems"].items()
            if FOUND in metrics and metrics[FOUND]["value"] is not None
        }
        found = recalls.get(section["subject"])
        if found is None:
            parts.append(f"no request for {name}")
            continue
        above = [system for system in recalls if recalls[system]["low"] > found["high"]]
        above.sort(key=lambda system, values=recalls: -values[system]["value"])  # type: ignore[misc]
        shares = [f"{system} with {percent(recalls[system]['value'])}" for system in above]
        far = f", far below {_join_names(shares)}" if above else ""
        parts.append(f"{percent(found['value'])} for {name} ({interval(found, hundredths)}){far}")
    if not parts:
        return ""
    return f"Where it is hard, the next item is in the first ten: {'; '.join(parts)}."


def _describe_surface(name: str, section: Mapping[str, Any]) -> str:
    if not section["subject"]:
        return f"{name} not measured"
    value = section["systems"][section["subject"]][ORDER]
    verdicts = [row["verdict"] for row in section["comparisons"] if row["metric"] == ORDER]
    counts = [
        f"{form.format(verdicts.count(verdict))} of {len(verdicts)}"
        for verdict, form in _FORMS.items()
        if verdict in verdicts and verdict in (comparison.BETTER, comparison.WORSE)
    ]
    return ", ".join([f"{name} {number(value['value'])} ({interval(value)})", *counts])


def _describe_wrong_lists(lists: Mapping[str, Any] | None) -> str:
    wrong = [
        f"{row['group']}: {row['name']} ({percent(row['value']['value'])})"
        for row in (lists or {"figures": ()})["figures"]
        if row["goal"] == "none" and row["value"]["value"]
    ]
    return f"What nobody should see, and people see: {'; '.join(wrong)}." if wrong else ""


def _join_names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
