from contextlib import closing
from pathlib import Path

import pytest

from serendip.engine.engine import Engine
from serendip_bench.scripts.post_items import measure, measure_reads


def test_posts_changes_and_readings_are_measured(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Engine.open(shop)) as engine, closing(Engine.open(shop)) as reader:
        result = measure(engine, 201) | measure_reads(engine, reader, 3)
    assert result["items"] == 60 + 201
    assert result["newest_is_found"]
    assert len(result["posts"]) == 100
    names = ("first_tenth", "last_tenth", "change", "delete", "first_read", "second_read")
    assert all(result[name] > 0 for name in names)
    assert "201 posts," in capsys.readouterr().err.splitlines()[-1]
