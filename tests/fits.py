"""Fits of datasets whose content is built for them alone."""

from serendip.data import Dataset
from serendip.engine.state import EngineState
from serendip.jobs.train.fit import Fitter
from serendip.runtime.progress import TrainOptions


def fit(fitter: Fitter, dataset: Dataset, name: str, options: TrainOptions) -> EngineState:
    return fitter.fit_state(dataset, fitter.build_content(dataset, options), name, options)


def prepare(fitter: Fitter, dataset: Dataset) -> Dataset:
    options = TrainOptions()
    return fitter.prepare(dataset, fitter.build_content(dataset, options), options)
