"""What the country of a request is worth to the home surface, on a shop of many countries.

    python -m serendip_bench.scripts.country_answers FOLDER [--customers 600] [--features auto]

FOLDER has ``online_retail.parquet``. Its sales become a workspace by `init`, which guesses the
columns, the country among them, and two engines are fitted on the first 80 % of the events: with
the parts of the context that ``--features`` names, and with none. Both answer the home surface at
moments of the rest, of each customer at most ``--requests``, drawn at random; differences are
paired by customer, with a bootstrap interval, for all requests, for those from abroad and for
customers without a past. ``choice`` says what each part was worth where ``--features`` is auto, and
``ranker_cpu_s`` what the ranker cost. ``overlap`` is the share of common items in the top ten of a
new visitor from each pair of the six countries with most customers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from serendip.runtime.threads import limit_threads

limit_threads(1)

import numpy as np

from serendip.data import BoolArray, Dataset, IntArray, Query
from serendip.data.splits import Split, temporal
from serendip.engine.state import EngineState
from serendip.engine.workspace import Workspace
from serendip.evaluate.comparison import compare_values
from serendip.evaluate.decision import write_decisions
from serendip.evaluate.intervals import per_user
from serendip.evaluate.metrics import RankingMetric, metric
from serendip.evaluate.runs import Values, ranks_from_lists
from serendip.jobs.context import JobContext
from serendip.jobs.import_files import import_files
from serendip.jobs.init.workspace import start_workspace
from serendip.jobs.surface_quality.answers import ENGINE, rank
from serendip.jobs.train.engine_fit import fit_engine
from serendip.jobs.train.fit import Fitter
from serendip.models.context_counts import ContextConfig
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock
from serendip_bench.datasets.retail import read_retail, write_retail_files

METRICS = ("nDCG@10", "Recall@10")
NUM_COUNTRIES = 6


def choose_customers(dataset: Dataset, customers: int) -> BoolArray:
    """(U,) bool, all customers abroad and some of the largest country."""
    assert dataset.countries is not None
    of_users = dataset.countries.of_users
    largest = int(np.bincount(of_users).argmax())
    at_home = np.flatnonzero(of_users == largest)
    order = np.random.default_rng(0).permutation(len(at_home))
    kept = np.asarray(of_users != largest)
    kept[at_home[order[:customers]]] = True
    return kept


def measure(context: JobContext, most_of_customer: int, scratch: Path) -> dict[str, Any]:
    """Fit both engines and compare their answers."""
    split = _sample_requests(temporal(context.dataset, 0.8), most_of_customer)
    without = context.settings.model_copy(update={"context": ContextConfig(use="off")})
    lists, overlap, read, spent, choices = {}, {}, {}, {}, {}
    for name, settings in (("with", context.settings), ("without", without)):
        (scratch / name).mkdir()
        clock = StageClock()
        workspace = replace(context.workspace, settings=settings)
        fitter = Fitter(replace(context, workspace=workspace, clock=clock), scratch / name)
        fitted = fit_engine(fitter, split.train, "past", context.options)
        choices[name] = write_decisions(fitted.decisions)
        spent[name] = sum(stage.cpu_s for stage in clock.stages if stage.name == "train ranker")
        state = fitter.append_new_items(fitted.state, split)
        home = settings.all_surfaces()["home"]
        lists[name] = rank(split.targets.queries(), home, state)[1][ENGINE]
        overlap[name] = _overlap(split, state, context)
        read[name] = state.context.present
    return {
        "reads": read,
        "decisions": choices["with"],
        "ranker_cpu_s": spent,
        "overlap": overlap,
        "requests": len(split.targets),
        **_compare(split, lists),
    }


def _sample_requests(split: Split, most_of_customer: int) -> Split:
    """At most so many targets of each customer, drawn at random."""
    order = np.random.default_rng(0).permutation(len(split.targets))
    counts, kept = Counter[str](), []
    for row in order.tolist():
        user = split.targets.users[row]
        if counts[user] < most_of_customer:
            counts[user] += 1
            kept.append(row)
    return replace(split, targets=split.targets.rows(np.sort(np.array(kept, np.intp))))


def _overlap(split: Split, state: EngineState, context: JobContext) -> dict[str, float]:
    """Mean share of common items in the answers to new visitors of two countries."""
    countries = Counter(split.train.countries_by_user().values()).most_common(NUM_COUNTRIES)
    home = context.settings.all_surfaces()["home"]
    time = float(split.targets.times[0])
    queries = [Query("home", country=name, time=time) for name, _ in countries]
    answers = rank(queries, home, state)[1][ENGINE]
    pairs = combinations(range(len(queries)), 2)
    shares = [len(set(answers[one]) & set(answers[two])) / 10 for one, two in pairs]
    return {"countries": len(queries), "share": round(float(np.mean(shares)), 3)}


def _compare(split: Split, lists: dict[str, IntArray]) -> dict[str, Any]:
    targets = split.targets
    ranks = {name: ranks_from_lists(found, targets.items) for name, found in lists.items()}
    countries = np.array([targets.country(row) for row in range(len(targets))])
    largest = Counter(countries.tolist()).most_common(1)[0][0]
    slices = {
        "all": np.ones(len(targets), np.bool_),
        "abroad": countries != largest,
        "without a past": targets.known == 0,
    }
    return {
        name: {label: _row(ranks, targets.users, rows, label) for label in METRICS}
        for name, rows in slices.items()
        if rows.any()
    }


def _row(
    ranks: dict[str, Values], users: Sequence[str], rows: BoolArray, label: str
) -> dict[str, Any]:
    ranking = metric(label)
    assert isinstance(ranking, RankingMetric)
    groups = np.unique(np.asarray(users)[rows], return_inverse=True)[1]
    both = np.stack([ranking.of_ranks(ranks[name][rows]) for name in ("with", "without")], axis=1)
    means = per_user(both, groups)  # (U, 2)
    found = compare_values(("with", "without", label), means[:, 0], means[:, 1])
    return {
        "with": round(float(means[:, 0].mean()), 5),
        "without": round(float(means[:, 1].mean()), 5),
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "customers": found.n,
    }


def main() -> None:
    """Parse, measure, print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--customers", type=int, default=600, help="of the largest country")
    parser.add_argument("--requests", type=int, default=8, help="of each customer, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--features", default="country", help="parts, by comma, or auto")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        dataset = read_retail(options.folder)
        write_retail_files(dataset, choose_customers(dataset, options.customers), folder)
        start_workspace(folder / "ws", folder / "items.csv", folder / "events.csv", force=False)
        settings = folder / "ws" / "serendip.toml"
        parts = "" if options.features == "auto" else options.features
        table = ["[context]", f'use = "{"off" if parts else "auto"}"', "[context.parts]"]
        table += [f'{part} = "on"' for part in parts.split(",") if part]
        settings.write_text("\n".join([settings.read_text(), *table, ""]))
        workspace = Workspace.open(folder / "ws")
        counts = import_files(workspace)
        context = JobContext.open(folder / "ws", TrainOptions(seed=options.seed))
        figures = measure(context, options.requests, folder)
    document = {"benchmark": "country_answers", "seed": options.seed, **counts, **figures}
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
