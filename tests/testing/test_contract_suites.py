import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from serendip.content.encoders.base import Encoder
from serendip.content.encoders.text import HashingEncoder
from serendip.data import Dataset, FloatArray, Query
from serendip.errors import ArtefactError
from serendip.models.popularity import Popularity
from serendip.models.query_scores import PriorOrder
from serendip.runtime.progress import TrainOptions
from serendip.testing import (
    EncoderContract,
    RecommenderContract,
    build_queries,
    build_small_world,
)


class NotANumber(Popularity):
    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        return super()._score_all(queries) * np.float32(np.nan)


class DoublePrecision(Popularity):
    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        return super()._score_all(queries).astype(np.float64)


class BatchDependent(Popularity):
    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        return super()._score_all(queries) * np.float32(len(queries))


class Unseeded(Popularity):
    def _train(self, dataset: Dataset, options: TrainOptions) -> None:
        super()._train(dataset, options)
        self.noise = np.float32(np.random.default_rng().random())

    def _score_all(self, queries: Sequence[Query]) -> FloatArray:
        return super()._score_all(queries) + self.noise


class Forgetful(Popularity):
    def _restore(self, learned: Mapping[str, Any]) -> None:
        super()._restore(learned)
        self._order = PriorOrder(np.zeros_like(self._order.scores))


class Careless(Popularity):
    @classmethod
    def open(cls, folder: Path) -> Self:
        try:
            return super().open(folder)
        except ArtefactError:  # what careless code does
            return cls()


class Unnamed(Popularity):
    label = "popular"


WRONG_MODELS: list[tuple[type[Popularity], str]] = [
    (NotANumber, "test_scores_are_finite_float32_rows_of_the_catalogue"),
    (DoublePrecision, "test_scores_are_finite_float32_rows_of_the_catalogue"),
    (BatchDependent, "test_a_row_does_not_depend_on_the_other_rows"),
    (Unseeded, "test_the_same_seed_gives_the_same_scores"),
    (Forgetful, "test_a_saved_model_opens_with_the_same_scores"),
    (Unnamed, "test_it_declares_what_the_engine_needs"),
    (Unnamed, "test_its_name_opens_its_class"),
]


def run(suite: Any, test: str, **fixtures: Any) -> None:
    method = getattr(suite, test)
    wanted = method.__code__.co_varnames[: method.__code__.co_argcount]
    method(**{name: value for name, value in fixtures.items() if name in wanted})


def run_on_model(kind: type[Popularity], test: str, folder: Path) -> None:
    class Suite(RecommenderContract):
        @classmethod
        def make(cls) -> Popularity:
            return kind()

    dataset = build_small_world()
    model = kind().train(dataset, TrainOptions(seed=5))
    run(
        Suite(), test, model=model, dataset=dataset, queries=build_queries(dataset), tmp_path=folder
    )


@pytest.mark.parametrize(("kind", "test"), WRONG_MODELS)
def test_a_wrong_model_fails(kind: type[Popularity], test: str, tmp_path: Path) -> None:
    run_on_model(Popularity, test, tmp_path)
    with pytest.raises(AssertionError):
        run_on_model(kind, test, tmp_path)


def test_a_model_that_opens_without_its_numbers_fails(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        run_on_model(Careless, "test_lost_numbers_are_an_artefact_error", tmp_path)


class Loud(HashingEncoder):
    def encode(self, texts: Sequence[str]) -> FloatArray:
        return super().encode(texts) * np.float32(2)


class Positional(HashingEncoder):
    def encode(self, texts: Sequence[str]) -> FloatArray:
        vectors = super().encode(texts)
        return np.roll(vectors, len(texts), axis=1)


WRONG_ENCODERS: list[tuple[type[HashingEncoder], str]] = [
    (Loud, "test_present_rows_are_float32_of_unit_length"),
    (Positional, "test_an_input_has_one_vector_whatever_stands_beside_it"),
]


@pytest.mark.parametrize(("kind", "test"), WRONG_ENCODERS)
def test_a_wrong_encoder_fails(kind: type[HashingEncoder], test: str, tmp_path: Path) -> None:
    class Suite(EncoderContract[str]):
        @classmethod
        def make(cls) -> Encoder[str]:
            return kind()

        def inputs(self, folder: Path) -> Sequence[str]:
            return ["a lamp", "a table", "a chair", " "]

    run(Suite(), test, encoder=HashingEncoder(), tmp_path=tmp_path)
    with pytest.raises(AssertionError):
        run(Suite(), test, encoder=kind(), tmp_path=tmp_path)


IMPORT = "import sys; {before}\nimport serendip.testing\nassert 'torch' not in sys.modules"


def test_importing_the_suites_does_not_import_torch() -> None:
    subprocess.run([sys.executable, "-c", IMPORT.format(before="")], check=True)


def test_without_pytest_the_extra_is_named() -> None:
    code = IMPORT.format(before="sys.modules['pytest'] = None")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "serendip.testing cannot be used: import of pytest halted" in done.stderr
    assert 'Run `pip install "serendip[testing]"`.' in done.stderr
