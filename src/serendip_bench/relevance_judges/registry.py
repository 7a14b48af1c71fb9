"""The ladder: all rungs by name."""

from __future__ import annotations

from serendip.errors import ConfigError
from serendip_bench.relevance_judges.cross_encoder import CrossEncoderJudge
from serendip_bench.relevance_judges.judges import Cosine, DistilledJudge, RelevanceJudge, Rules
from serendip_bench.relevance_judges.llm_likelihood import LlmLikelihoodJudge

RUNGS: dict[str, RelevanceJudge] = {
    rung.name: rung
    for rung in (Rules(), Cosine(), DistilledJudge(), LlmLikelihoodJudge(), CrossEncoderJudge())
}
"""Name -> rung, those that take minutes at the end."""


def chosen_judges(names: str | None) -> list[RelevanceJudge]:
    """Rungs by comma-separated names; all of them for None.

    Raises:
        ConfigError: a name is not known.
    """
    asked = list(RUNGS) if names is None else [name.strip() for name in names.split(",")]
    for name in asked:
        if name not in RUNGS:
            raise ConfigError(f"no judge is called {name!r}.", f"Known: {', '.join(RUNGS)}.")
    return [rung for name, rung in RUNGS.items() if name in asked]
