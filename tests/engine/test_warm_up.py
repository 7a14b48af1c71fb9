from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from serendip.cli.serve import _published_in
from serendip.engine.engine import Engine
from serendip.errors import ArtefactError


class Encoder:
    def __init__(self, failure: Exception | None = None) -> None:
        self.count, self._failure = 0, failure

    def encode(self, texts: list[str]) -> np.ndarray:
        self.count += len(texts)
        if self._failure:
            raise self._failure
        return np.ones((len(texts), 4), np.float32)


def test_the_engine_of_a_service_has_its_encoder_loaded(
    shop: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    encoders = iter([Encoder(), Encoder(ArtefactError("the weights are altered.", "Install."))])
    used = []

    def open_encoder(config: object) -> Encoder:
        used.append(next(encoders))
        return used[-1]

    monkeypatch.setattr("serendip.engine.engine.open_encoder", open_encoder)
    published = _published_in(shop)
    with closing(published.open_engine()):
        assert (used[0].count, caplog.text) == (1, "")
    with closing(published.open_engine()) as engine:
        assert isinstance(engine, Engine)
        assert "the weights are altered" in caplog.text
