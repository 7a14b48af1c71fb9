from __future__ import annotations

from contract import LocalChangeContract, RecommenderContract

from serendip.models.sasrec import SASRec, SASRecConfig

SMALL = SASRecConfig(embedding_size=8, epochs=3, max_len=10, batch_size=32, num_negatives=8)


class TestSASRec(LocalChangeContract, RecommenderContract):
    @classmethod
    def make(cls) -> SASRec:
        return SASRec(SMALL)
