"""What an LLM of known quality writes: good answers help search, and the gates refuse bad ones."""

import json
from collections import Counter
from pathlib import Path

import pytest

from serendip.llm.tasks import Judgement, Task
from serendip.runtime.progress import TrainOptions
from serendip_bench.label_quality.run import Labeller, Trial
from serendip_bench.label_quality.world import SearchWorld

WORLD = SearchWorld()


def test_a_labeller_is_right_as_often_as_stated_and_where_a_worse_one_is() -> None:
    task, found = Task.of(Judgement), Counter[float]()
    pairs = [
        (text, WORLD.title(number))
        for text, _ in WORLD.held_out_queries(20)
        for number in range(0, WORLD.num_items, 4)
    ]
    for text, title in pairs:
        request = task.request({"query": text, "item": {"title": title}}, max_tokens=10)
        is_good = WORLD.need_of(int(title.split()[-1])) == WORLD.need_asked(text)
        labels = [
            json.loads(Labeller(WORLD, precision)(request))["label"]
            for precision in (0.5, 0.8, 1.0)
        ]
        right = [label == ("good" if is_good else "bad") for label in labels]
        assert right == sorted(right)
        found.update({0.5: right[0], 0.8: right[1], 1.0: right[2]})
    for precision, count in found.items():
        assert count / len(pairs) == pytest.approx(precision, abs=0.06)


def test_good_labels_help_and_the_gate_refuses_labels_of_a_coin(
    tmp_path: Path,
) -> None:
    trial = Trial.of(WORLD, tmp_path, TrainOptions(0))
    with_labels, without, verdict = trial.labels(0.95)
    assert verdict.passed
    assert with_labels.mean() > without.mean() + 0.002
    coin = trial.gate(0.5)
    assert not coin.passed and coin.detail < 0.1
