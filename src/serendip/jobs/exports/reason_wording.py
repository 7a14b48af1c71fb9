"""``serendip recommend --batch --llm``: an LLM words the reasons of the answers for all users.

It is given the title of the item, the sentence and what the sentence names, each combination once,
and never a user. A wording that lacks a name or names anything else is dropped: the sentence stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from serendip.data.items.catalogue import Catalogue
from serendip.engine.explanations.explain import Reason
from serendip.jobs.context import JobContext
from serendip.jobs.llm.job import LlmJob, Question, run_llm_job
from serendip.llm.reason_task import NamedThings, WordedReason, reason_task


class ShownReason(NamedTuple):
    """A reason beside the title of the item that it is given for."""

    title: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Wordings:
    """Sentences of an LLM.

    Args:
        sentences: reason -> wording; reasons without one keep their sentence.
        report: of the run.
    """

    sentences: dict[ShownReason, str]
    report: dict[str, Any]


def word_reasons(
    context: JobContext,
    job: LlmJob,
    shown: Sequence[ShownReason],
    catalogue: Catalogue,
    prompt: str = "reason-1",
) -> Wordings:
    """Ask for a wording of every different reason.

    Args:
        context: ledger and ``[llm]``.
        job: name and limits.
        shown: reasons; each is asked for once.
        catalogue: whose values and titles a wording must not add.
        prompt: name with version.

    Raises:
        ConfigError: no LLM is configured, or the budget is negative or not a number.
        StorageError: the ledger cannot be written, or another process runs this job.
    """
    distinct = [one for one in dict.fromkeys(shown) if one.reason.text]
    questions = [_question(one) for one in distinct]
    result = run_llm_job(context, reason_task(prompt), lambda: questions, job)
    if result.outcome is None:
        return Wordings({}, result.to_json())
    names = _named_things(catalogue)
    sentences: dict[ShownReason, str] = {}
    dropped: Counter[str] = Counter()
    for one, question, answer in zip(distinct, questions, result.outcome.answers, strict=True):
        problem = _find_problem(answer, question, names)
        if answer is None or problem:
            dropped[problem] += 1
        else:
            sentences[one] = " ".join(answer.sentence.split())
    facts = {"reasons": len(distinct), "worded": len(sentences), "dropped": dict(dropped)}
    return Wordings(sentences, {**result.to_json(), **facts})


def _question(one: ShownReason) -> Question:
    return {"item": one.title, "reason": one.reason.text, "names": list(one.reason.names)}


def _find_problem(answer: WordedReason | None, data: Question, names: NamedThings) -> str:
    """Why there is no wording; the task has checked the answer against the evidence."""
    if answer is None:
        return "no answer"
    other = next(names.others(answer.sentence, data), "")
    return "names another thing of the catalogue" if other else ""


def _named_things(catalogue: Catalogue) -> NamedThings:
    values = {word for number in range(len(catalogue)) for word in catalogue.words(number)}
    return NamedThings.of(values, (item.title for item in catalogue.items))
