"""LLM jobs by several workers: one budget, one ledger, and the labels of one worker."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fault_server import Body, FaultServer, Reply, completion, configure, data_of, judged, serving
from processes import wait_until
from small_shop import import_shop
from thread_executor import ThreadExecutor

from serendip.errors import SerendipError
from serendip.jobs.context import JobContext
from serendip.jobs.labels.by_llm import Labelling, label_pairs
from serendip.jobs.llm import question_parts
from serendip.jobs.llm.job import LlmJob
from serendip.llm.ledger import Ledger
from serendip.llm.runner import NO_BUDGET
from serendip.runtime.executor import IN_PROCESS, Executor, LocalExecutor
from serendip.runtime.progress import TrainOptions

BILL = 120 / 1e6
"""Of each question, by the counts and prices of the server."""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """24 pairs; a task has at least six."""
    monkeypatch.setattr(question_parts, "QUESTIONS_PER_TASK", 6)
    folder = import_shop(tmp_path / "shop")
    pairs = [f"{query},i{item}" for query in ("a horror tale", "fun") for item in range(12)]
    (folder / "pairs.csv").write_text("\n".join(["query,item_id", *pairs]) + "\n")
    return folder


def by_genre(body: Body, number: int) -> Reply:
    """Good if the query names the genre."""
    data = data_of(body)
    is_good = data["item"]["attributes"]["genre"] in data["query"]
    return completion(judged(body, "good" if is_good else "bad"))


def label(
    shop: Path, server: FaultServer, executor: Executor, budget: float = 1.0
) -> dict[str, Any]:
    """Label all pairs, with at most two requests at once."""
    settings = shop / "serendip.toml"
    if "[llm]" not in settings.read_text():
        configure(shop, server.address)
        more = "concurrency = 2\ntimeout_s = 10.0"
        settings.write_text(settings.read_text().replace("concurrency = 1", more))
    context = JobContext.open(shop, TrainOptions(executor=executor))
    labelling = Labelling(shop / "pairs.csv", shop / "labels.csv")
    return label_pairs(context, labelling, LlmJob("labels", budget))


def count_questions(server: FaultServer) -> Counter[str]:
    return Counter(data_of(body)["id"] for body in server.bodies)


def read_ledger(shop: Path) -> dict[str, Any]:
    with closing(Ledger.open(shop / "serendip.db")) as ledger:
        (row,) = ledger.summary()
    return row


def test_a_killed_worker_loses_no_answer_and_labels_are_those_of_one_process(shop: Path) -> None:
    alone = Path(shutil.copytree(shop, shop.parent / "alone"))
    with serving(by_genre) as server:
        label(alone, server, IN_PROCESS)

    def kill_at_fifth(body: Body, number: int) -> Reply:
        if number == 4:
            worker = multiprocessing.active_children()[0]
            os.kill(worker.pid or 0, signal.SIGKILL)
            worker.join()
        return by_genre(body, number)

    with serving(kill_at_fifth) as server:
        with pytest.raises(SerendipError, match="12 questions to the LLM was killed"):
            label(shop, server, LocalExecutor(2))
        answered = read_ledger(shop)["ok"]
        assert 12 <= answered < 24  # The other worker finished its part.
        result = label(shop, server, IN_PROCESS)
        assert result["estimate"]["known"] == answered
        repeated = [key for key, count in count_questions(server).items() if count > 1]
    assert (result["state"], len(repeated) <= 1) == ("complete", True)
    row = read_ledger(shop)
    assert row["ok"] == 24
    assert row["unfinished"] <= 1  # What was under way stays counted.
    assert (shop / "labels.csv").read_bytes() == (alone / "labels.csv").read_bytes()


def test_workers_ask_each_question_once_and_share_the_requests_at_once(shop: Path) -> None:
    executor = ThreadExecutor(3)
    with serving(by_genre) as server:
        result = label(shop, server, executor)
    assert result["state"] == "complete"
    assert [*count_questions(server).values()] == [1] * 24
    assert result["spent"] == pytest.approx(24 * BILL)
    assert [part.options.concurrency for part in executor.tasks] == [1, 1]  # As the settings say.


def test_all_workers_together_stay_within_the_budget(shop: Path) -> None:
    with serving(by_genre) as server:
        most = label(shop, server, IN_PROCESS, 0.0)["estimate"]["most"] / 24
        budget = most * 1.01 + 9 * BILL
        result = label(shop, server, ThreadExecutor(2), budget)
        assert (result["state"], result["reason"]) == ("partial", NO_BUDGET)
        assert result["spent"] <= budget
        # Nobody stops while a bound of another one may still be released.
        assert len(server.bodies) == 10
        whole = label(shop, server, ThreadExecutor(2))
    assert (whole["state"], len(server.bodies)) == ("complete", 24)


def test_a_wrong_key_ends_the_run_of_every_worker(shop: Path) -> None:
    both = threading.Barrier(2)

    def refuse(body: Body, number: int) -> Reply:
        both.wait(60)
        return Reply(b'{"error": {"message": "told: no", "code": "invalid_api_key"}}', 401)

    with serving(refuse) as server:
        result = label(shop, server, ThreadExecutor(2))
    assert (result["state"], result["failed"], len(server.bodies)) == ("partial", 2, 2)
    assert "denied" in result["reason"]


def test_the_first_worker_that_stops_stops_the_others(shop: Path) -> None:
    """One has ten rejections; the other, whose first question waits for that, asks no second."""
    late = threading.Lock()

    def reject(body: Body, number: int) -> Reply:
        if late.acquire(blocking=False):
            wait_until(lambda: [*shop.glob("cache/tasks/*/stop")], "the stop", 60)
        return Reply(b'{"error": {"message": "told: no", "code": "bad"}}', 400)

    with serving(reject) as server:
        result = label(shop, server, ThreadExecutor(2))
    assert (result["state"], result["failed"], len(server.bodies)) == ("partial", 11, 11)
    assert "rejected" in result["reason"]
