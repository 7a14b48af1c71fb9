"""The relevance judges of the benchmark by name."""

from __future__ import annotations

from serendip.errors import ConfigError
from serendip_bench.relevance_judges.judges import (
    CosineJudge,
    DistilledJudge,
    RelevanceJudge,
    RulesJudge,
)

JUDGES: dict[str, RelevanceJudge] = {
    judge.name: judge
    for judge in (
        RulesJudge(),
        CosineJudge(),
        DistilledJudge(),
    )
}
"""Name -> judge."""


def select_judges(names: str | None) -> list[RelevanceJudge]:
    """Judges by comma-separated names; None = all.

    Raises:
        ConfigError: a name is unknown.
    """
    selected = list(JUDGES) if names is None else [name.strip() for name in names.split(",")]
    for name in selected:
        if name not in JUDGES:
            raise ConfigError(f"the judge {name!r} is unknown.", f"Known: {', '.join(JUDGES)}.")
    return [judge for name, judge in JUDGES.items() if name in selected]
