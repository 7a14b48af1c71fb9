"""``serendip queries build --llm``: an LLM writes for items that no other query reaches.

What it writes is a candidate like any other: one that does not find its item, is unsafe or says
what another one says is dropped, and so is one whose words are all in the title. Answers that were
paid for are in the ledger and are never asked for again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from serendip.data.arrays import IntArray
from serendip.data.item import Catalogue
from serendip.data.privacy import is_publishable
from serendip.data.text import normalise
from serendip.engine.workspace import DATABASE_FILE, Workspace
from serendip.jobs.llm_job import item_texts, job_folder, open_llm
from serendip.jobs.suggestions.build import BuiltQueries, build_queries, queries_of, read_search_log
from serendip.llm.ledger import Ledger
from serendip.llm.runner import CostEstimate, RunOptions, ask_all, estimate
from serendip.llm.tasks import WrittenQueries, queries_task
from serendip.runtime.atomic_files import exclusive_lock
from serendip.runtime.progress import TrainOptions
from serendip.search.suggestions.candidates import MOST_CHARACTERS, Candidate
from serendip.search.suggestions.checks import normal_form
from serendip.search.suggestions.table import QueryTable


@dataclass(frozen=True, slots=True)
class QueryWriting:
    """What to ask for.

    Args:
        budget: of the job, all its runs together.
        items: for so many items, at most.
        job: its name in the ledger.
        prompt: name with version.
    """

    budget: float
    items: int = 1_000
    job: str = "queries"
    prompt: str = "queries-1"


def write_queries(
    workspace: Workspace,
    writing: QueryWriting,
    options: TrainOptions,
    on_estimate: Callable[[CostEstimate], None] = lambda told: None,
    only_estimate: bool = False,
) -> tuple[str, BuiltQueries | None, dict[str, Any]]:
    """Ask about items that no other query reaches, then about the others, the most popular first.

    Args:
        workspace: its items, its ledger and its ``[llm]``.
        writing: for how many items, and what it may cost.
        options: progress.
        on_estimate: is told what it will cost before anything is sent.
        only_estimate: whether nothing is sent and nothing written.

    Returns:
        name and content of the new version ("" and None = only estimated), and what was spent.

    Raises:
        ConfigError: no LLM is configured, or the budget is no number.
        DataError: the catalogue is empty.
        StorageError: the database takes no rows, or another process is at this job.
    """
    config, task = workspace.settings.llm, queries_task(writing.prompt)
    run = RunOptions(
        writing.job,
        writing.budget,
        config.prices(),
        config.concurrency,
        config.attempts,
        config.max_tokens,
        progress=options.progress,
    )
    with open_llm(config) as llm, exclusive_lock(job_folder(workspace, writing.job)):
        log = read_search_log(workspace)
        catalogue = log.dataset.catalogue
        table = queries_of(log, workspace.settings, options).table
        asked = _order(table, log.dataset.item_counts())[: writing.items]
        questions: list[Mapping[str, Any]] = [
            {"item": item_texts(catalogue[int(number)])} for number in asked
        ]
        with closing(Ledger.open(workspace.folder / DATABASE_FILE)) as ledger:
            told = estimate(task, questions, llm.model, ledger, run)
            on_estimate(told)
            if only_estimate:
                return "", None, {"estimate": asdict(told)}
            outcome = ask_all(task, questions, llm, ledger, run)
    written, dropped = candidates_of(outcome.answers, asked, catalogue)
    texts = {one.text: catalogue[int(one.items[0])].item_id for one in written}
    name, built = build_queries(workspace, options, texts)
    facts = {
        "estimate": asdict(told),
        "state": outcome.state,
        "reason": outcome.reason,
        "failed": len(outcome.failures),
        "spent": outcome.spent,
        "written": len(written),
        "dropped": dict(dropped),
    }
    return name, built, facts


def candidates_of(
    answers: Sequence[WrittenQueries | None], items: IntArray, catalogue: Catalogue
) -> tuple[list[Candidate], Counter[str]]:
    """Different plain queries that say more than a title; and test -> how many failed it.

    Args:
        answers: one per item, None where there is none.
        items: (A,) numbers of the items.
        catalogue: the items.
    """
    found: dict[str, Candidate] = {}
    dropped: Counter[str] = Counter()
    for answer, number in zip(answers, items.tolist(), strict=True):
        title = normal_form(catalogue[number].title)
        for text in answer.queries if answer else ():
            shown = " ".join("".join(sign for sign in text if sign.isprintable()).split())
            key = normalise(shown)
            if not key or len(shown) > MOST_CHARACTERS:
                dropped["empty or long"] += 1
            elif not is_publishable(shown):
                dropped["an address or odd signs"] += 1
            elif normal_form(shown) <= title:
                dropped["only the title"] += 1
            elif key in found:
                dropped["written twice"] += 1
            else:
                item = np.array([number], np.int32)
                found[key] = Candidate(shown, "written", "llm", item)
    return list(found.values()), dropped


def _order(table: QueryTable, counts: IntArray) -> IntArray:
    """Items in the order in which they need queries.

    Args:
        table: of queries that no LLM wrote.
        counts: (N,) interactions per item.
    """
    reached = np.zeros(len(counts), np.bool_)
    is_rule = np.array([kind != "like" for kind in table.kinds], np.bool_)
    results = table.results[is_rule]
    reached[results[results >= 0]] = True
    return np.lexsort((-counts, reached)).astype(np.int32)
