"""The small model itself: it comes up, answers by the schema, and is gone afterwards."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from serendip.content.encoders.weights import verify_weights
from serendip.errors import ArtefactError
from serendip.llm.config import LlmConfig
from serendip.llm.ledger import Ledger
from serendip.llm.local import PACKAGE, LocalLlm
from serendip.llm.runner import RunOptions, ask_all
from serendip.llm.tasks import judge_task

CONFIG = LlmConfig(provider="local", concurrency=2)


def test_a_local_model_starts_answers_and_stops(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "calls.db")
    pairs = [{"query": "red shoes", "title": title} for title in ("Red running shoes", "A kettle")]
    with LocalLlm(verify_weights(PACKAGE), CONFIG) as llm:
        outcome = ask_all(judge_task(), pairs, llm, ledger, RunOptions("local", concurrency=2))
        address = llm.address
    assert outcome.state == "complete"
    assert [one.label in ("good", "bad") for one in outcome.answers if one] == [True, True]
    (row,) = ledger.summary()
    assert (row["model"], row["ok"]) == ("SmolLM2-135M-Instruct.Q4_1", 2)
    assert row["tokens_sent"] > 300
    ledger.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{address}/health", timeout=5)


def test_weights_that_are_none_are_told(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF and nothing more")
    with pytest.raises(ArtefactError, match=r"broken\.gguf cannot be loaded"):
        LocalLlm(path, CONFIG)


def test_likelihoods_of_parts_make_that_of_the_whole() -> None:
    with LocalLlm(verify_weights(PACKAGE), CONFIG) as llm:
        shoes = "Red running shoes of leather. What somebody typed to find it:"
        whole, tokens = llm.log_likelihood(shoes, " red running shoes")
        first, _ = llm.log_likelihood(shoes, " red")
        rest, _ = llm.log_likelihood(f"{shoes} red", " running shoes")
        other, _ = llm.log_likelihood("A kettle. What somebody typed to find it:", " red shoes")
        own, _ = llm.log_likelihood(shoes, " red shoes")
    assert tokens == 3
    assert whole == pytest.approx(first + rest, abs=0.02)
    assert other < own < 0
