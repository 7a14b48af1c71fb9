"""report.json: all results of an evaluation as one strict JSON document, and its HTML page.

Layout, format 1 (``Estimate`` = {"value", "low", "high", "n"}; null without users)::

    {"format": 1, "created": ISO time, "code_version", "seed", "resamples",
     "data": {"counts": {name: number},
              "checks": [{"name", "status": "PASS" | "WARN" | "FAIL", "count", "message"}]},
     "surfaces": {surface:
        {"surface", "question", "note", "n_users", "n_requests", "possible", "catalogue_size",
         "subject", "systems": {name: {metric: Estimate}},
         "slices": {slice: {"n_users", "n_requests", "systems": {name: {metric: Estimate}}}},
         "comparisons": [{"system", "baseline", "metric", "difference", "low", "high", "n",
                          "verdict", "minimum_detectable"}],
         "message": null | {name: {"sent", "precision", "useful": Estimate, "items"}},
         "auction": null | {"sold", "bid", "expected", "earned", "precision",
                            "organic_precision": Estimate}}},
     "seconds": {system: CPU-seconds of its training},
     "lists": null | {"generation", "figures": [{"group", "name", "value": Estimate,
                                                 "goal": "more" | "less" | "none"}],
                      "lists": {"home" | "similar" | "search": [{"asked", "shown": [title]}]},
                      "suggested": {kind: number}, "missing": [sentence]},
     "exploration": null | {"impressions", "choices", "clipped", "most_weight", "rate": Estimate},
     "new_items": null | {"days", "items", "too_late", "requests",
                          "choices": Estimate, "chosen": Estimate, "logged": null | Start,
                          "systems": {name: Start}},
     "reasons": {"home" | "search" | "similar":
                     {"lists", "kinds_per_list", "left_out", "told": {kind: number},
                      "all": {"reasons", "named", "random", "above", "below"},
                      "by_kind": {kind: as "all"}}},
     "decisions": [{"name", "on", "gain", "low", "high", "n", "reason", "without", "must"}],
     "semantic_ids": {"num_items", "collision_rate", "used": [per level], "dead": [per level],
                      "perplexity": [per level]},
     "stages": [{"name", "wall_s", "cpu_s", "peak_mb"}],
     "split": {"fraction", "cut", "train_events", "targets", "users", "all_targets", "all_users",
               "train_items", "new_items"},
     "verdict": [sentence]}

``lists`` is what people see of the published generation: its measures, of lists that were asked for
as pages ask, and some of the lists by title; ``missing`` says what was not measured.

``new_items`` has the items that appeared after the cut, and the item is the unit of its
intervals: ``choices`` and ``chosen`` are those of the log in the first ``days`` of an item. A
``Start`` = {"shown": Estimate, "kept": null | Estimate, "impressions": Estimate, "choices":
Estimate, "places": null | Estimate, "recall": null | Estimate} is what the log (``logged``) or the
replayed lists of home say; see ``new_items.py``.

``decisions`` says what the training uses (``on``), and why: the mean ``without`` it and the paired
``gain`` with it for ``n`` users on held-out requests of the training part; null = not compared.

A surface that nothing could be asked has a ``note`` that says why, and no systems. ``possible`` is
the number of requests that ``n_requests`` were sampled from.

``split`` is the cut in time: the share of the events before it (``fraction``), its Unix seconds,
and the ``users`` who were evaluated, a random part of ``all_users`` if there were many targets.

The surface ``home`` has the requests of all evaluated users for their next item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pydantic_core import to_jsonable_python

from serendip.evaluate import comparison, number_format
from serendip.evaluate.comparison import BETTER, WORSE
from serendip.evaluate.intervals import RESAMPLES
from serendip.evaluate.number_format import hundredths, interval, number, percent
from serendip.evaluate.task_transfer import MAIN, UNIFIED

FORMAT = 1


_NOTHING: Mapping[str, Any] = {
    **{name: {} for name in ("seconds", "data", "split", "semantic_ids", "reasons")},
    **dict.fromkeys(("lists", "exploration", "new_items")),
    **{name: [] for name in ("surfaces", "decisions", "stages")},
}


def build_report(
    figures: Mapping[str, Any], *, created: str, code_version: str, seed: int = 0
) -> dict[str, Any]:
    """Build the document above of its parts; ``json.dumps(report, allow_nan=False)`` succeeds.

    Surfaces are given as a list; what is left out was not measured. The same figures give the same
    report.
    """
    safe: dict[str, Any] = json_safe({**_NOTHING, **figures})
    safe |= {
        "format": FORMAT,
        "created": created,
        "code_version": code_version,
        "seed": seed,
        "resamples": RESAMPLES,
        "surfaces": {part["surface"]: part for part in safe["surfaces"]},
    }
    return {**safe, "verdict": describe_report(safe)}


def json_safe(value: Any) -> Any:
    """Convert to plain JSON values: numpy to lists and numbers, NaN and infinity to None."""
    return to_jsonable_python(value, inf_nan_mode="null", fallback=_unpack)


def _unpack(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


def render_page(report: Mapping[str, Any]) -> str:
    """Render the HTML of a report (see ``document``); it can always be encoded as UTF-8."""
    longest = max((stage["wall_s"] or 0.0 for stage in report["stages"]), default=0.0)
    return _render("report.html", report=report, longest_s=longest or 1.0)


def render_alignment_page(report: Mapping[str, Any]) -> str:
    """Render the HTML of ``reports/alignment.json`` (see ``jobs.evaluate.task_transfer``)."""
    setting = setting_of(report["recommendation"]["groups"])
    names = {"metric": MAIN, "unified": UNIFIED, "setting": setting}
    return _render("alignment.html", report=report, found=report["models"], **names)


def setting_of(groups: list[list[str]]) -> str:
    """Format the recommended grouping as lines of ``serendip.toml``."""
    lists = ", ".join("[" + ", ".join(f'"{task}"' for task in group) + "]" for group in groups)
    return f"[unified]\ngroups = [{lists}]"


def _render(template: str, **values: Any) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from serendip.evaluate.report import charts

    environment = Environment(
        loader=PackageLoader("serendip.evaluate.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    formats = ("number", "percent", "interval", "seconds", "signed")
    environment.filters |= {name: getattr(number_format, name) for name in formats}
    environment.filters |= {"tight": tight, "day": day, "badge": badge}
    environment.globals["charts"] = charts
    text = environment.get_template(template).render(**values)
    return text.encode("utf-8", "replace").decode("utf-8")


def day(value: Any) -> str:
    """Format Unix seconds as a date or an ISO time to the minute; a dash for None."""
    if value is None:
        return number_format.NOTHING
    if isinstance(value, str):
        return value[:16].replace("T", " ")
    return f"{datetime.fromtimestamp(float(value), UTC):%Y-%m-%d}"


def tight(sentence: str) -> str:
    """Keep a number and its unit on one line, by no-break spaces."""
    return sentence.replace(" %", "\N{NO-BREAK SPACE}%").replace(
        "n = ", "n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"
    )


def badge(word: str) -> str:
    """CSS class of a verdict, or of the status of a check."""
    return {BETTER: "good", "PASS": "good", WORSE: "bad", "FAIL": "bad", "WARN": "warn"}.get(
        word, "plain"
    )


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
