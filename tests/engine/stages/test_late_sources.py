import time

from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.engine.stages import pipeline
from serendip.engine.stages.sources import ModelSource
from serendip.runtime.budget import share_of_time, time_limit

HOME = Request("home", "u1", k=5)


def sources(reader: Engine, surface: str) -> tuple[str, ...]:
    return tuple(reader.settings.all_surfaces()[surface].sources)


def test_after_a_source_that_takes_half_of_the_time_no_other_one_begins(reader, monkeypatch):
    names = sources(reader, "home")
    assert len(names) > 4
    over = [0.2]
    retrieve = ModelSource.retrieve

    def take_long(source, batch, quota):
        if source.name == names[2]:
            over[0] = 0.6
        return retrieve(source, batch, quota)

    monkeypatch.setattr(ModelSource, "retrieve", take_long)
    monkeypatch.setattr(pipeline, "share_of_time", lambda: over[0])
    answer = reader.recommend(HOME)
    assert answer.degraded == names[3:]
    assert len(answer.items) == 5


def test_a_source_begins_however_late_it_is_until_one_has_proposed_items(reader):
    now = time.monotonic()
    with time_limit(now - 600, now + 400):
        assert reader.recommend(HOME).degraded == sources(reader, "home")[1:]
        # No word of it is known, so the word search proposes nothing.
        answer = reader.search("zqxjkv wvxqzj", k=5)
    begun = [name for name in sources(reader, "search") if name not in answer.degraded]
    assert begun[:1] == ["words"] and len(begun) == 2


def test_in_time_and_without_a_limit_all_sources_are_asked_by_the_innermost_limit(reader):
    assert reader.recommend(HOME).degraded == ()
    now = time.monotonic()
    with time_limit(now, now + 600):
        assert reader.recommend(HOME).degraded == ()

    now = time.monotonic()
    with time_limit(now - 100, now + 300):
        assert 0.25 <= share_of_time() < 0.9
        with time_limit(now, now - 1):  # nothing was left when it began
            assert share_of_time() == 1
        assert share_of_time() < 1
    assert share_of_time() == 0
