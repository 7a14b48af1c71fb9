"""Relevance judge by query likelihood: how much more likely a small LLM finds a query with an item.

The score is the mean over the query's tokens of log P(query | item) - log P(query), where the
second is conditioned on "something" (query likelihood, Ponte and Croft 1998). As a classifier with
the answers yes and no, the same LLM answers all pairs alike; its likelihoods are informative.

Shapes: P pairs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from serendip.content.encoders.weights import verify_weights
from serendip.data.arrays import FloatArray
from serendip.llm.config import LlmConfig
from serendip.llm.local import PACKAGE, LocalLlm
from serendip.runtime.progress import TrainOptions
from serendip_bench.relevance_judges.gold import Gold, GoldTexts
from serendip_bench.relevance_judges.judges import ScoreJudge, UnlabelledPairs

LETTERS = 200
"""Number of letters of an item's text in the prompt."""

_PROMPT = "Item: {}\nSomebody searched for it by typing:"
_PROMPT_WITHOUT_ITEM = _PROMPT.format("something")


class LlmLikelihoodJudge(ScoreJudge):
    """SmolLM2-135M on this machine; an item is irrelevant if it does not raise the likelihood."""

    name = "local-llm"
    can_filter = False
    max_test = 500
    max_train = 250

    def prepare(self, gold: Gold, pairs: UnlabelledPairs, options: TrainOptions) -> UnlabelledPairs:
        """With the log-likelihood ratios (P, 1) as features."""
        config = LlmConfig(provider="local", concurrency=1)
        with LocalLlm(verify_weights(PACKAGE), config) as llm:
            ratios = likelihood_ratios(gold.texts, pairs, llm.log_likelihood, options)
        return UnlabelledPairs(ratios[:, None], pairs.queries, pairs.items)

    def scores(self, features: FloatArray) -> FloatArray:
        """Minus the ratio."""
        return -features[:, 0]


def likelihood_ratios(
    texts: GoldTexts,
    pairs: UnlabelledPairs,
    log_likelihood: Callable[[str, str], tuple[float, int]],
    options: TrainOptions,
) -> FloatArray:
    """(P,) log-likelihood ratios of each query with and without its item, per token.

    Args:
        texts: of queries and items.
        pairs: to score.
        log_likelihood: (prompt, text) -> log-probability of the text after the prompt, and its
            number of tokens.
        options: progress.
    """
    without_item: dict[int, float] = {}
    ratios = np.empty(len(pairs.queries), np.float32)
    numbers = enumerate(zip(pairs.queries.tolist(), pairs.items.tolist(), strict=True))
    for place, (query, item) in options.progress.track(numbers, "local-llm", len(ratios)):
        text = f" {texts.queries[query]}"
        if query not in without_item:
            without_item[query] = log_likelihood(_PROMPT_WITHOUT_ITEM, text)[0]
        prompt = _PROMPT.format(texts.full_text(item)[:LETTERS])
        with_item, tokens = log_likelihood(prompt, text)
        ratios[place] = (with_item - without_item[query]) / tokens
    return ratios
