from dataclasses import replace

import numpy as np
import pytest
import torch
from next_item_world import clock_world

from serendip.data.dataset import HeldOut
from serendip.models.sequence.config import GRU4RecConfig, TrainedSequences
from serendip.models.sequence.network import GRU4RecNetwork
from serendip.models.sequence.train import SequenceTraining, past_and_targets, train_sequences
from serendip.runtime.progress import TrainOptions
from serendip.testing import build_small_world

CONFIG = GRU4RecConfig(
    embedding_size=8, epochs=4, validate_every=1, max_len=10, batch_size=32, num_negatives=4
)


def train(options: TrainOptions) -> TrainedSequences:
    dataset = build_small_world()
    return train_sequences(
        lambda past: GRU4RecNetwork(dataset.num_items, CONFIG), dataset, CONFIG, options
    )


def test_given_targets_are_not_learned_and_the_random_state_stays() -> None:
    before = torch.get_rng_state()
    train(TrainOptions())
    assert torch.equal(torch.get_rng_state(), before)

    held = HeldOut(np.asarray([3, 5], np.int32), np.asarray([7, 99], np.int32))
    dataset = replace(build_small_world(), validation=held)
    past, targets = past_and_targets(dataset, 5, np.random.default_rng(0))
    assert past.lengths.sum() == len(dataset.events)
    assert (targets.rows.tolist(), targets.items.tolist()) == ([3, 5], [7, 99])


def test_last_events_of_a_tenth_of_the_users_are_held_back() -> None:
    dataset = clock_world(num_users=50)
    past, targets = past_and_targets(dataset, 1000, np.random.default_rng(0))
    assert len(targets.rows) == 5
    for user, item in zip(targets.rows.tolist(), targets.items.tolist(), strict=True):
        history = dataset.history(user).item_nums
        assert history[-1] == item
        assert past.lengths[user] == len(history) - 1


def test_validation_is_the_ndcg_of_a_ranking_without_the_history() -> None:
    dataset = build_small_world()
    unknown = dataset.num_items
    users = np.arange(12, dtype=np.int32)
    wanted = np.asarray([28, 29, 3, unknown, *range(8, 16)], np.int32)
    dataset = replace(dataset, validation=HeldOut(users, wanted))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        training = SequenceTraining(lambda past: GRU4RecNetwork(30, CONFIG), dataset, CONFIG, 0)
    network, gains = training.module, []
    for user, item in zip(users, wanted.tolist(), strict=True):
        history = dataset.history(int(user)).item_nums.astype(np.int64)
        recent = torch.from_numpy(history[-CONFIG.max_len :])
        with torch.no_grad():
            encoded = network.eval()(recent, [(0, 1, len(recent))])[-1]
            scores = (network.vectors(torch.arange(30)) @ encoded).tolist()
        if item == unknown:
            gains.append(0.0)
            continue
        rivals = set(range(30)) - set(history.tolist()) - {item}
        rank = sum(scores[rival] > scores[item] for rival in rivals)
        gains.append(1 / np.log2(rank + 2) if rank < 10 else 0.0)
    assert training.validate() == pytest.approx(np.mean(gains))
