"""Verdict of a report: sentences generated from its numbers.

No sentence is written by hand, so none can contradict the numbers: the verdicts better, worse, no
difference shown and too small to tell are those of ``comparison``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serendip.evaluate import comparison
from serendip.evaluate.number_format import interval, number, percent, percent_interval, points

FOUND = "Recall@10"
"""Metric of the sentences about found targets."""

ORDER = "nDCG@10"
"""Metric of the sentence about the order of the first ten."""

TEMPORAL, HOME = "temporal", "home"
NEXT, SIMILAR = "next", "similar"

REPEATS = "repeats"
"""Slice of the requests whose item the user had chosen before."""

_COME_AGAIN = (
    "Items that come again are counted there, as they are shown; the sentences about the split are "
    "of first choices alone."
)

_FORMS = {
    comparison.BETTER: "better than {}",
    comparison.WORSE: "worse than {}",
    comparison.NO_DIFFERENCE: "no difference shown to {}",
    comparison.TOO_SMALL: "too small to tell from {}",
}
"""Verdict -> the baselines that it holds for, in words."""

FULL = "serendip evaluate --full"
"""Command of the full evaluation."""


def sentences(protocols: Mapping[str, Mapping[str, Any]], noun: str = "item") -> list[str]:
    """Describe the results of the protocols, the temporal split first; empty without protocols."""
    ordered = sorted(protocols, key=lambda key: key != TEMPORAL)
    return [line for key in ordered for line in _describe_protocol(key, protocols[key], noun)]


def describe_splits(splits: Mapping[str, Any]) -> list[str]:
    """Say what the report rests on, and what the full evaluation adds; empty if that is nothing."""
    lines = []
    for name, sample in splits.get("sampled", {}).items():
        lines.append(
            f"{_name_split(name).capitalize()}: a random {number(sample['users'])} of "
            f"{number(sample['all_users'])} users were judged; `{FULL}` judges all."
        )
    if splits.get("left_out"):
        made = _join_names([_name_split(name) for name in splits["made"]])
        added = _join_names([_name_split(name) for name in splits["left_out"]])
        lines.append(f"Judged: {made}. Not judged: {added}; `{FULL}` adds them.")
    return lines


def describe_surfaces(surfaces: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One sentence per surface: its quality, and against what it was compared.

    Of home only where items come again: elsewhere the sentences about the split are of home.
    """
    lines = []
    for name, section in surfaces.items():
        if name != HOME:
            lines.append(_describe_surface(name, section))
        elif REPEATS in section["slices"]:
            lines.append(f"{_describe_surface(name, section)} {_COME_AGAIN}")
    return lines + _describe_cost(surfaces)


def _describe_cost(surfaces: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What likeness costs of the next choices; empty if one of the two was not measured."""
    pair = [surfaces.get(name, {"subject": ""}) for name in (NEXT, SIMILAR)]
    if not all(section["subject"] for section in pair):
        return []
    best, alike = (section["systems"][section["subject"]][ORDER]["value"] for section in pair)
    return [
        f"Likeness costs next choices: {ORDER} {number(alike)} on the surface {SIMILAR}, which "
        f"shows what is alike, and {number(best)} on {NEXT}, which shows what is chosen next."
    ]


def describe_reasons(surface: str, reasons: Mapping[str, Any]) -> str:
    """Whether items lose places without what the reasons of a surface name."""
    tested, left_out = reasons["all"], _describe_left_out(reasons["left_out"])
    if not tested["reasons"]:
        return f"Reasons on {surface}: not tested; none names what could be taken away.{left_out}"
    return (
        f"Reasons on {surface}: without what its reason names, an item loses {tested['named']:g} "
        f"places (median of {number(tested['reasons'])} reasons in {number(reasons['lists'])} "
        f"lists), without something else {tested['random']:g}; more than without that for "
        f"{percent(tested['above'])} of them. A list of ten has "
        f"{reasons['kinds_per_list']:.1f} kinds of reasons.{left_out}"
    )


def _describe_left_out(count: int) -> str:
    return f" Left out, as they name more than the rest: {number(count)}." if count else ""


def describe_lists(lists: Mapping[str, Any] | None) -> list[str]:
    """What people see that nobody should; empty if not measured or if there is nothing."""
    figures = [] if lists is None else lists["figures"]
    wrong = [
        f"{row['group']}: {row['name']} ({percent(row['value']['value'])})"
        for row in figures
        if row["goal"] == "none" and row["value"]["value"]
    ]
    return [f"What nobody should see, and people see: {'; '.join(wrong)}."] if wrong else []


def describe_context(context: Mapping[str, Any] | None) -> list[str]:
    """Parts of the context that are read, and what each is worth; empty if not measured."""
    if context is None:
        return []
    if not context["gains"]:
        read = ", ".join(context["kept"]) or "nothing"
        return [f"Context: {read} is read; no part was tested, as {context['note']}."]
    parts = [
        f"{gain['part']} {gain['gain']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f}, "
        f"{'read' if gain['part'] in context['kept'] else 'left out'})"
        for gain in context["gains"]
    ]
    return [
        f"Context: {ORDER} with a part minus without it, on the newest requests of "
        f"{number(context['users'])} users of the training part: {'; '.join(parts)}."
    ]


def describe_exploration(exploration: Mapping[str, Any] | None) -> list[str]:
    """How often new items are chosen, by the explored impressions; empty if not measured."""
    if exploration is None:
        return []
    if not exploration["impressions"]:
        return ["Exploration: nothing was explored; no impression of the log has a propensity."]
    rate = exploration["rate"]
    return [
        f"Exploration: {number(exploration['impressions'])} impressions of explored items for "
        f"{number(rate['n'])} users, {number(exploration['choices'])} of them chosen; weighed by "
        f"inverse propensity, {percent(rate['value'])} of new items are chosen where they are "
        f"shown ({percent_interval(rate)})."
    ]


def describe_new_items(figures: Mapping[str, Any] | None, noun: str = "item") -> list[str]:
    """Coverage and velocity of new items, by the log and by the replay; empty if not measured."""
    if figures is None:
        return []
    days = f"{figures['days']:g} days"
    if not figures["items"]:
        return [f"New {noun}s: none appeared after the cut and {days} before the end of the log."]
    parts = [
        f"New {noun}s: {number(figures['items'])} appeared after the cut; in their first {days} "
        f"{percent(figures['chosen']['value'])} of them were chosen "
        f"({percent_interval(figures['chosen'])}), {number(figures['choices']['value'])} times "
        "each on average."
    ]
    if figures["logged"] is not None:
        parts.append(f"By the log {_describe_start(figures['logged'])}.")
    subject = next(iter(figures["systems"]), None)
    if subject is not None:
        replayed = _describe_start(figures["systems"][subject])
        requests = f"{number(figures['requests'])} requests"
        parts.append(f"By a replay of {requests} by the {subject} {replayed}.")
    return [" ".join(parts)]


def _describe_start(start: Mapping[str, Any]) -> str:
    """Coverage in words."""
    shown = start["shown"]
    return f"{percent(shown['value'])} were shown ({percent_interval(shown)})"


def _describe_surface(name: str, section: Mapping[str, Any]) -> str:
    if not section["subject"]:
        return f"Surface {name}: not measured. {section['note']}"
    value = section["systems"][section["subject"]][ORDER]
    parts = _group_verdicts(section["comparisons"])
    compared = f": {'; '.join(parts)}" if parts else ""
    sentences = [
        f"Surface {name}: {ORDER} {number(value['value'])} ({interval(value)}, "
        f"{number(section['n_requests'])} requests of {number(value['n'])} users){compared}."
    ]
    if section["message"]:
        sentences.append(_describe_messages(section["message"]["systems"][section["subject"]]))
    if section["auction"]:
        sentences.append(_describe_auction(section["auction"]))
    return " ".join(sentences)


def _describe_messages(messages: Mapping[str, Any]) -> str:
    sent, precision = messages["sent"], messages["precision"]
    if not sent["value"]:
        return "It sends no message."
    return (
        f"It sends to {percent(sent['value'])} of users ({percent_interval(sent)}), and "
        f"{percent(precision['value'])} of what it sends is chosen ({percent_interval(precision)})."
    )


def _describe_auction(auction: Mapping[str, Any]) -> str:
    if not auction["sold"]["value"]:
        return "No place is sold."
    sold, organic = auction["precision"], auction["organic_precision"]
    return (
        f"{percent(auction['sold']['value'])} of the places are sold, for "
        f"{number(auction['expected']['value'])} per list expected; of the sold items "
        f"{percent(sold['value'])} are chosen ({percent_interval(sold)}), of those that stand "
        f"there without a sale {percent(organic['value'])} ({percent_interval(organic)})."
    )


def _name_split(name: str) -> str:
    """Name of a split in words."""
    kind, _, fraction = name.partition("@")
    if kind != TEMPORAL:
        return kind.replace("_", " ")
    return f"the temporal cut at {100 * float(fraction):g} % of the events"


def _describe_protocol(key: str, section: Mapping[str, Any], noun: str) -> list[str]:
    """Sentences of one protocol; those about slices only for the temporal split."""
    if key != TEMPORAL:
        return _describe_literature(section)
    lines = [*_describe_recall(section, noun)]
    for comparison_row in section["comparisons"]:
        if comparison_row["metric"] == FOUND:
            lines.append(_describe_difference(comparison_row))
    lines += _describe_order(section["comparisons"])
    lines += _describe_slices(section, noun)
    lines += _describe_weak_slices(section)
    return lines


def _describe_recall(section: Mapping[str, Any], noun: str) -> list[str]:
    """Recall of the subject, with its interval."""
    subject = section["subject"]
    recall = section["systems"][subject].get(FOUND)
    if recall is None or recall["value"] is None:
        return [f"On the temporal split nothing could be judged: there is no {noun} to find."]
    return [
        f"On the temporal split the {subject} has the next {noun} in its first ten for "
        f"{percent(recall['value'])} of requests (95 % CI {percent_interval(recall)}, "
        f"mean over {number(recall['n'])} users)."
    ]


def _describe_difference(row: Mapping[str, Any]) -> str:
    """Paired difference of shares, in percentage points, with its verdict."""
    names = f"{row['system']} against {row['baseline']}"
    if row["difference"] is None:
        return f"{names}: {row['verdict']}, for there is no user to compare by."
    side = "above" if row["difference"] >= 0 else "below"
    text = (
        f"That is {points(abs(row['difference'])).lstrip('+')} points {side} "
        f"{row['baseline']} (95 % CI of the paired difference {points(row['low'])} to "
        f"{points(row['high'])}, n = {number(row['n'])}): {row['verdict']}"
    )
    if row["verdict"] == comparison.TOO_SMALL:
        smallest = points(row["minimum_detectable"]).lstrip("+")
        return f"{text}; only a difference of {smallest} points or more would show."
    return f"{text}."


def _describe_order(comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    """One sentence that groups the baselines by their verdict in nDCG@10."""
    parts = _group_verdicts(comparisons)
    return [f"By the order of the ten ({ORDER}): {'; '.join(parts)}."] if parts else []


def _group_verdicts(comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    """The baselines of each verdict in nDCG@10, in words."""
    groups: dict[str, list[str]] = {}
    for row in comparisons:
        if row["metric"] == ORDER:
            groups.setdefault(row["verdict"], []).append(row["baseline"])
    return [
        form.format(_join_names(groups[verdict]))
        for verdict, form in _FORMS.items()
        if verdict in groups
    ]


def _describe_slices(section: Mapping[str, Any], noun: str) -> list[str]:
    """One sentence with the subject's recall on the hard slices."""
    parts = []
    for name in ("cold items", "tail items", "cold users"):
        part = section["slices"].get(name)
        if part is None:
            continue
        recall = part["systems"][section["subject"]].get(FOUND)
        if recall is None or recall["value"] is None:
            parts.append(f"no request for {name}")
            continue
        parts.append(
            f"{percent(recall['value'])} for {name} ({percent_interval(recall)}, "
            f"n = {number(recall['n'])} users)"
        )
    if not parts:
        return []
    return [f"Where it is hard, the next {noun} is in the first ten: {'; '.join(parts)}."]


def _describe_weak_slices(section: Mapping[str, Any]) -> list[str]:
    """One sentence per item slice in which the subject's interval ends below another system's."""
    lines = []
    for name in ("cold items", "tail items"):
        systems = section["slices"].get(name, {"systems": {}})["systems"]
        recalls = {
            system: metrics[FOUND] for system, metrics in systems.items() if FOUND in metrics
        }
        subject = recalls.pop(section["subject"], None)
        if subject is None or subject["high"] is None:
            continue
        above = [system for system in recalls if (recalls[system]["low"] or 0.0) > subject["high"]]
        above.sort(key=lambda system: -recalls[system]["value"])
        if above:
            shares = [
                f"{system} with {percent(recalls[system]['value'])} "
                f"({percent_interval(recalls[system])})"
                for system in above
            ]
            lines.append(
                f"For {name} the {section['subject']} is far below {_join_names(shares)}: "
                "the intervals do not overlap."
            )
    return lines


def _describe_literature(section: Mapping[str, Any]) -> list[str]:
    """One sentence about a protocol that is only for comparison with the literature."""
    metrics = section["systems"][section["subject"]]
    values = [
        f"{label} {number(metrics[label]['value'])}"
        for label in (FOUND, ORDER)
        if label in metrics and metrics[label]["value"] is not None
    ]
    if not values:
        return []
    return [
        f"{section['label']}. There the {section['subject']} has {' and '.join(values)} over "
        f"{number(section['n_users'])} users; no claim rests on these."
    ]


def _join_names(names: Sequence[str]) -> str:
    """Join names as "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
