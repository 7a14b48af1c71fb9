from collections.abc import Callable
from pathlib import Path

import pytest

from serendip.data.query import Query
from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages.sources import ModelSource
from serendip.engine.stages.surfaces import SurfaceConfig
from serendip.engine.state import EngineState
from serendip.errors import UnsupportedError
from serendip.jobs.evaluate.faithfulness import measure_faithfulness
from serendip.jobs.exports.recommendations import recommend_all
from serendip.jobs.surface_quality.answers import answer_engine
from serendip.jobs.whole_answers import answer_whole
from serendip.runtime.progress import TrainOptions

JOBS: dict[str, Callable[[list[Query], SurfaceConfig, EngineState], object]] = {
    "answers": answer_whole,
    "evaluation": answer_engine,
    "faithfulness": measure_faithfulness,
}


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets the retriever fail from its call on."""

    def begin() -> None:
        retrieve = ModelSource.retrieve

        def fail(source: ModelSource, *arguments: object) -> object:
            if source.name == "retriever":
                raise OSError("a sector cannot be read")
            return retrieve(source, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(ModelSource, "retrieve", fail)

    return begin


@pytest.mark.parametrize("job", JOBS)
def test_a_source_that_fails_ends_a_job_with_its_name_and_that_of_the_user(
    reader: Engine, failing: Callable[[], None], job: str
) -> None:
    queries = reader.queries([Request("home", "u1"), Request("home", "u2")])
    home = reader.settings.all_surfaces()["home"]
    JOBS[job](queries, home, reader.state)
    failing()
    assert reader.recommend(Request("home", "u1")).degraded == ("retriever",)
    with pytest.raises(UnsupportedError, match=r"'home' to user 'u1' .*: retriever\. .*doctor"):
        JOBS[job](queries, home, reader.state)


def test_a_batch_that_would_lack_items_ends_and_leaves_the_old_file(
    shop: Path, failing: Callable[[], None]
) -> None:
    out = shop / "out.parquet"
    recommend_all(shop, Request("home", k=5), out, TrainOptions())
    whole = out.read_bytes()
    failing()
    with pytest.raises(UnsupportedError, match=r"'home' to user '.+' lacks .* retriever\."):
        recommend_all(shop, Request("home", k=9), out, TrainOptions())
    assert out.read_bytes() == whole
