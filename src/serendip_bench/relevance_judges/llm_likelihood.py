"""A small LLM on this machine as a judge: how much likelier an item makes what somebody typed.

Asked for a yes or a no it says the same of everything; asked how likely words are, it knows
something. The score is the mean over the query's tokens of log P(query | item) - log P(query),
where the second asks after "something". (Idea: query likelihood, Ponte and Croft 1998.)
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
from serendip_bench.relevance_judges.judges import JudgeQueries, Untrained

LETTERS = 200
"""Of an item's text that are read."""

_PROMPT = "Item: {}\nSomebody searched for it by typing:"
_NOTHING = _PROMPT.format("something")


class LlmLikelihoodJudge(Untrained):
    """SmolLM2-135M; bad is what the item makes no likelier."""

    name = "local-llm"
    filters = False
    most_judged = 500
    most_learned = 250

    def looked_at(self, gold: Gold, asked: JudgeQueries, options: TrainOptions) -> JudgeQueries:
        """With (P, 1) how much likelier each item makes its query."""
        config = LlmConfig(provider="local", concurrency=1)
        with LocalLlm(verify_weights(PACKAGE), config) as llm:
            ratios = likelihood_ratios(gold.texts, asked, llm.log_likelihood, options)
        return JudgeQueries(ratios[:, None], asked.queries, asked.items)

    def scores(self, features: FloatArray) -> FloatArray:
        """Minus the ratio."""
        return -features[:, 0]


def likelihood_ratios(
    texts: GoldTexts,
    asked: JudgeQueries,
    log_likelihood: Callable[[str, str], tuple[float, int]],
    options: TrainOptions,
) -> FloatArray:
    """(P,) log-ratios of each query with and without its item, for a token.

    Args:
        texts: of queries and items.
        asked: pairs.
        log_likelihood: prompt and text -> the text's log-probability after it, and its tokens.
        options: progress.
    """
    alone: dict[int, float] = {}
    found = np.empty(len(asked.queries), np.float32)
    pairs = enumerate(zip(asked.queries.tolist(), asked.items.tolist(), strict=True))
    for place, (query, item) in options.progress.track(pairs, "local-llm", len(found)):
        words = f" {texts.queries[query]}"
        if query not in alone:
            alone[query] = log_likelihood(_NOTHING, words)[0]
        told = _PROMPT.format(texts.whole(item)[:LETTERS])
        with_item, tokens = log_likelihood(told, words)
        found[place] = (with_item - alone[query]) / tokens
    return found
