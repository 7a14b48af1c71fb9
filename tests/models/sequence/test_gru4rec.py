import numpy as np
import torch

from serendip.models.onnx import open_session
from serendip.models.sequence.config import INPUT, GRU4RecConfig
from serendip.models.sequence.model import GRU4Rec
from serendip.models.sequence.network import GRU4RecNetwork
from serendip.testing import LocalChangeContract, RecommenderContract

SMALL = GRU4RecConfig(embedding_size=8, epochs=3, max_len=10, batch_size=32, num_negatives=8)


class TestGRU4Rec(LocalChangeContract, RecommenderContract):
    @classmethod
    def make(cls) -> GRU4Rec:
        return GRU4Rec(SMALL)


def test_the_graph_and_packed_steps_answer_as_single_steps() -> None:
    """The oracle is torch's cell, one event at a time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = GRU4RecNetwork(20, SMALL).eval()
    cell = torch.nn.GRUCell(8, 8)
    cell.load_state_dict(
        {name.removesuffix("_l0"): value for name, value in network.unit.state_dict().items()}
    )
    table = network.items.detach() * 50
    lengths = [1, 1, 4, 7]
    sequences = torch.arange(13).split(lengths)
    line = network.read(table[:13], [(0, 2, 1), (2, 1, 4), (6, 1, 7)])
    session = open_session(network.graph())
    for items, packed in zip(sequences, line.split(lengths), strict=True):
        state = torch.zeros(1, 8)
        for place, item in enumerate(items):
            state = cell(table[item][None], state)
            torch.testing.assert_close(packed[place][None], network.out(state))
        history = table[items][None].numpy()
        answer = session.run(None, {INPUT: np.concatenate([history, history])})[0]
        np.testing.assert_allclose(answer, packed[-1:].detach().repeat(2, 1), atol=1e-5)
