"""Training of the relevance classifier: query projection, boosted trees, Platt calibration.

The projection is fitted on relevant pairs, the trees on all labelled pairs, the calibration curve
on pairs that the trees have not seen. The trees are exported to an ONNX graph.

Shapes: P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serendip.config import Config
from serendip.data.arrays import BoolArray, FloatArray, IntArray
from serendip.models.relevance.features import ItemTexts, PairFeatures, QueryTexts
from serendip.models.relevance.model import CalibratedTrees, RelevanceModel, fit_calibration
from serendip.models.relevance.projection import (
    QueryProjection,
    QueryProjectionConfig,
    out_of_fold_features,
)

_FEWEST_LEAVES, _FEWEST_ROUNDS = 4, 33


class TreesConfig(Config):
    """Size of the trees."""

    rounds: int = 200
    """Trees at most."""

    rounds_per_unit: float = 0.83
    """Trees for each unit that is learned from: pairs of one query say the same twice."""

    learning_rate: float = 0.075
    """How much of its error each tree takes over."""

    leaves: int = 31
    """Leaves of a tree at most."""

    units_per_leaf: int = 12
    """Units for each leaf of a tree, of which there are four at least."""

    fewest_pairs: int = 100
    """Pairs of a leaf at least; a fiftieth of all pairs where that is less."""

    calibration_share: float = 0.2
    """Share of the units that the logistic curve is fitted on, by trees that have not seen them."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainedTrees:
    """A student and what it says of pairs that its trees had not seen, to choose a threshold by.

    Args:
        student: learned from all pairs.
        held: (P,) the pairs that were kept from the trees whose curve it has.
        probabilities: (H,) of these pairs, by those trees.
    """

    student: CalibratedTrees
    held: BoolArray
    probabilities: FloatArray


def train_trees(
    features: FloatArray,
    is_bad: BoolArray,
    units: IntArray,
    config: TreesConfig,
    seed: int,
    is_typical: BoolArray | None = None,
) -> TrainedTrees:
    """Learn from labelled pairs.

    Args:
        features: (P, F) float32.
        is_bad: (P,) labels, from people or a teacher.
        units: (P,) int32 what is kept together when pairs are parted.
        config: size of the trees.
        seed: of everything that is drawn.
        is_typical: (P,) pairs that are good and bad as often as those that will be asked about,
            which alone fit the curve; None = all are.
    """
    different = np.unique(units)
    count = max(1, int(config.calibration_share * len(different)))
    held = np.isin(units, np.random.default_rng(seed).permutation(different)[:count])
    config = _of_size(config, len(different))
    trees = _grown(features, is_bad, config, seed)
    before = trees if held.all() else _grown(features[~held], is_bad[~held], config, seed)
    if is_typical is not None:
        held &= is_typical
    values = before.predict(features[held], raw_score=True)
    curve = fit_calibration(values, is_bad[held])
    model = _as_graph(trees.dump_model(), features.shape[1])
    student = CalibratedTrees.of(model, curve)
    return TrainedTrees(student, held, curve(values))


def _of_size(config: TreesConfig, units: int) -> TreesConfig:
    """With trees that so many units can teach."""
    leaves = min(config.leaves, max(_FEWEST_LEAVES, units // config.units_per_leaf))
    rounds = min(config.rounds, max(_FEWEST_ROUNDS, int(config.rounds_per_unit * units)))
    return config.model_copy(update={"leaves": leaves, "rounds": rounds})


def _grown(features: FloatArray, is_bad: BoolArray, config: TreesConfig, seed: int) -> Any:
    import lightgbm

    settings = {
        "objective": "binary",
        "learning_rate": config.learning_rate,
        "num_leaves": config.leaves,
        "min_data_in_leaf": max(1, min(config.fewest_pairs, len(is_bad) // 50)),
        "feature_fraction": 0.4,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    return lightgbm.train(settings, lightgbm.Dataset(features, is_bad), config.rounds)


@dataclass(slots=True)
class _Nodes:
    """The columns of an ONNX tree ensemble, filled node by node."""

    trees: list[int] = field(default_factory=list)
    nodes: list[int] = field(default_factory=list)
    features: list[int] = field(default_factory=list)
    thresholds: list[float] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    lower: list[int] = field(default_factory=list)
    higher: list[int] = field(default_factory=list)
    leaves: list[tuple[int, int, float]] = field(default_factory=list)

    def add(self, tree: int, root: dict[str, Any]) -> None:
        """All nodes of a tree as lightgbm tells them, numbered from the root on."""
        for number, node, children in _numbered(root):
            self.trees.append(tree)
            self.nodes.append(number)
            if children is None:
                self.leaves.append((tree, number, float(node["leaf_value"])))
            self.modes.append("LEAF" if children is None else "BRANCH_LEQ")
            self.features.append(int(node.get("split_feature", 0)))
            self.thresholds.append(_threshold(node))
            low, high = children or (0, 0)
            self.lower.append(low)
            self.higher.append(high)


def _numbered(
    root: dict[str, Any],
) -> Iterator[tuple[int, dict[str, Any], tuple[int, int] | None]]:
    """(number, node, numbers of its children or None) of all nodes, breadth first."""
    line, place = [root], 0
    while place < len(line):
        node = line[place]
        children = None
        if "split_index" in node:
            children = (len(line), len(line) + 1)
            line += [node["left_child"], node["right_child"]]
        yield place, node, children
        place += 1


def _threshold(node: dict[str, Any]) -> float:
    """The largest float32 that goes to the left, as features are of that kind."""
    if "threshold" not in node:
        return 0.0
    threshold, exact = np.float32(node["threshold"]), float(node["threshold"])
    return float(
        np.nextafter(threshold, np.float32(-np.inf)) if float(threshold) > exact else threshold
    )


def _as_graph(dumped: dict[str, Any], num_features: int) -> bytes:
    """ONNX bytes of the trees, whose values are summed."""
    from onnx import TensorProto, helper

    nodes = _Nodes()
    for number, tree in enumerate(dumped["tree_info"]):
        nodes.add(number, tree["tree_structure"])
    trees, numbers, values = zip(*nodes.leaves, strict=True)
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["features"],
        ["value"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=nodes.trees,
        nodes_nodeids=nodes.nodes,
        nodes_featureids=nodes.features,
        nodes_values=nodes.thresholds,
        nodes_modes=nodes.modes,
        nodes_truenodeids=nodes.lower,
        nodes_falsenodeids=nodes.higher,
        target_treeids=list(trees),
        target_nodeids=list(numbers),
        target_ids=[0] * len(trees),
        target_weights=list(values),
    )
    graph = helper.make_graph(
        [node],
        "student",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, num_features])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, [None, 1])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return model


class RelevanceModelConfig(Config):
    """What a judge is made of."""

    student: TreesConfig = TreesConfig()
    """The trees."""

    likeness: QueryProjectionConfig = QueryProjectionConfig()
    """How far queries are moved."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPairs:
    """Labelled pairs.

    Args:
        queries: (P,) int32 numbers.
        items: (P,) int32 numbers.
        is_bad: (P,) labels, of people or of a teacher that passed the gate.
        units: (P,) int32 what is kept together where pairs are parted.
        is_typical: (P,) pairs that are good and bad as often as those that will be asked about.
        features: (P, F) of these pairs.
    """

    queries: IntArray
    items: IntArray
    is_bad: BoolArray
    units: IntArray
    is_typical: BoolArray
    features: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class TrainedRelevanceModel:
    """A judge, and what it says of pairs that its trees had not seen.

    Args:
        judge: learned from all pairs.
        held: (P,) the pairs that were kept from the trees whose curve it has.
        probabilities: (H,) of these pairs, by those trees.
    """

    judge: RelevanceModel
    held: BoolArray
    probabilities: FloatArray


def train_relevance_model(
    config: RelevanceModelConfig,
    known: PairFeatures,
    texts: tuple[QueryTexts, ItemTexts],
    lessons: LabelledPairs,
    seed: int,
) -> TrainedRelevanceModel:
    """Learn from labelled pairs.

    Args:
        config: sizes.
        known: of all items and queries; no label is in it.
        texts: of queries and items.
        lessons: what is learned from.
        seed: of everything that is drawn.
    """
    queries, items = texts
    features, moved = with_learned(config.likeness, known, queries, lessons, seed)
    taught = train_trees(
        features, lessons.is_bad, lessons.units, config.student, seed, lessons.is_typical
    )
    judge = RelevanceModel.of(moved, taught.student, items)
    return TrainedRelevanceModel(judge, taught.held, taught.probabilities)


def with_learned(
    config: QueryProjectionConfig,
    known: PairFeatures,
    queries: QueryTexts,
    lessons: LabelledPairs,
    seed: int,
) -> tuple[FloatArray, QueryProjection]:
    """Features with learned likenesses beside them.

    Returns:
        (P, F + L) of the pairs that are learned from, each by a map of other units; and the map of
        all of these, for others.
    """
    numbers, is_bad = (lessons.queries, lessons.items), lessons.is_bad
    learned = out_of_fold_features(config, known, queries, numbers, is_bad, lessons.units, seed)
    good = lessons.queries[~is_bad], lessons.items[~is_bad]
    moved = QueryProjection.fit(config, known, queries, good, seed)
    return np.hstack([lessons.features, learned]), moved
