import numpy as np
import pytest
import torch
from next_item_world import clock_world

from serendip.config import validate
from serendip.data.query import History, Query
from serendip.errors import ConfigError
from serendip.models.onnx import open_session
from serendip.models.sequence.config import INPUT, SASRecConfig
from serendip.models.sequence.model import SASRec
from serendip.models.sequence.network import SASRecNetwork
from serendip.testing import LocalChangeContract, RecommenderContract

SMALL = SASRecConfig(embedding_size=8, epochs=3, max_len=10, batch_size=32, num_negatives=8)


class TestSASRec(LocalChangeContract, RecommenderContract):
    @classmethod
    def make(cls) -> SASRec:
        return SASRec(SMALL)


@pytest.fixture
def network() -> SASRecNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = SASRecConfig(embedding_size=8, num_layers=2, num_heads=2)
        network = SASRecNetwork(20, config).eval()
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return network


def test_the_graph_answers_as_the_network_for_every_length(network: SASRecNetwork) -> None:
    session = open_session(network.graph())
    random = np.random.default_rng(0)
    for rows, length in [(1, 1), (3, 1), (1, 7), (3, 7), (3, 50)]:
        history = random.normal(size=(rows, length, 8)).astype(np.float32)
        with torch.no_grad():
            line = network.read(torch.from_numpy(history).reshape(-1, 8), [(0, rows, length)])
        expected = line.reshape(rows, length, 8)[:, -1].numpy()
        np.testing.assert_allclose(session.run(None, {INPUT: history})[0], expected, atol=1e-4)


def test_packed_sequences_are_read_alone_and_no_event_sees_what_comes_after_it(
    network: SASRecNetwork,
) -> None:
    lengths = [2, 2, 5]
    items = torch.arange(9)
    together = network(items, [(0, 2, 2), (4, 1, 5)]).split(lengths)
    for part, own in zip(items.split(lengths), together, strict=True):
        torch.testing.assert_close(network(part, [(0, 1, len(part))]), own)

    first, second = torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 3, 9])
    before, after = (network(items, [(0, 1, 4)]) for items in (first, second))
    torch.testing.assert_close(before[:3], after[:3])
    assert not torch.allclose(before[3], after[3])


def test_it_learns_what_follows_what() -> None:
    config = SASRecConfig(
        embedding_size=16, epochs=40, batch_size=64, learning_rate=0.02, dropout=0.1,
        num_negatives=8, temperature=0.2, feed_forward=1, patience=9,
    )  # fmt: skip
    model = SASRec(config).train(clock_world())
    hours = np.arange(24, dtype=np.int32)
    queries = [Query(history=History.of_items(np.asarray([(h - 1) % 24, h]))) for h in hours]
    right = model.score_all(queries).argmax(1) == (hours + 1) % 24
    assert right.mean() > 0.5


def test_it_starts_at_what_is_chosen_beside_the_last_item() -> None:
    with pytest.raises(ConfigError, match="num_heads = 3"):
        validate(SASRecConfig, {"num_heads": 3}, "test")

    hours = np.arange(24, dtype=np.int32)
    queries = [Query(history=History.of_items(hours[[hour]])) for hour in hours]
    config = SASRecConfig(embedding_size=16, epochs=1, learning_rate=1e-9)
    scores = SASRec(config).train(clock_world()).score_all(queries)
    scores[hours, hours] = -np.inf
    assert np.isin(np.abs(scores.argmax(1) - hours), [1, 23]).all()
