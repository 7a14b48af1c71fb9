from __future__ import annotations

from contract import LocalChangeContract, RecommenderContract

from serendip.models.gru4rec import GRU4Rec, GRU4RecConfig

SMALL = GRU4RecConfig(embedding_size=8, epochs=3, max_len=10, batch_size=32, num_negatives=8)


class TestGRU4Rec(LocalChangeContract, RecommenderContract):
    @classmethod
    def make(cls) -> GRU4Rec:
        return GRU4Rec(SMALL)
