"""``quality_loss`` in ``serendip.toml`` reaches the retriever, with its own items' quality."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
from small_shop import SETTINGS, write_files

from serendip.content.cache import VectorCache
from serendip.content.encoders.text import open_encoder
from serendip.data.items.quality import item_quality
from serendip.data.snapshot import take_snapshot
from serendip.engine.workspace import Workspace
from serendip.jobs.import_files import import_files
from serendip.jobs.train.fit import Fitter
from serendip.models.retriever.model import Retriever
from serendip.runtime.progress import TrainOptions
from serendip.runtime.timing import StageClock


def test_the_quality_vector_is_a_setting(tmp_path: Path) -> None:
    write_files(tmp_path)
    file = tmp_path / "serendip.toml"
    lines = SETTINGS.splitlines()
    place = lines.index("[models.retriever]")
    file.write_text("\n".join([*lines[: place + 1], "quality_loss = 0.2", *lines[place + 1 :]]))
    import_files(Workspace.open(tmp_path))
    workspace = Workspace.open(tmp_path)
    with closing(workspace.open_store()) as store:
        dataset = take_snapshot(store, workspace.settings.actions)
    encoder, cache = open_encoder(workspace.settings.content), VectorCache(workspace.cache)
    fitter = Fitter(workspace.settings, encoder, cache, tmp_path / "scratch", StageClock())
    model = fitter.fit_sources(dataset, "all", TrainOptions(0)).models["retriever"]
    assert isinstance(model, Retriever)
    assert model.quality is not None
    assert np.array_equal(model.quality.values, item_quality(dataset))
