from __future__ import annotations

from contract import RecommenderContract

from serendip.models.retriever import Retriever, RetrieverConfig

SMALL = RetrieverConfig(embedding_size=8, epochs=3, max_len=10, batch_size=8)


class TestRetriever(RecommenderContract):
    @classmethod
    def make(cls) -> Retriever:
        return Retriever(SMALL)
