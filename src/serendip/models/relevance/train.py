"""Training of the relevance model: query projection, boosted trees, Platt calibration.

The projection is fitted on relevant pairs, the trees on all labelled pairs, the calibration curve
on pairs that the trees have not seen. The trees are exported to an ONNX graph.

Shapes: P pairs, H held-out pairs, F features of a pair, L projected features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serendip.data import BoolArray, FloatArray, IntArray
from serendip.models.relevance.features import (
    USER_FEATURES,
    ItemTexts,
    PairFeatures,
    QueryTexts,
    RequestUser,
    UserFeatures,
    split_by_query,
)
from serendip.models.relevance.model import (
    FEATURES,
    CalibratedTrees,
    LearnedRelevance,
    RelevanceModel,
    fit_calibration,
)
from serendip.models.relevance.projection import QueryProjection, out_of_fold_features

_MIN_LEAVES, _MIN_ROUNDS = 4, 33


MOST_ROUNDS, ROUNDS_PER_GROUP = 200, 0.83
"""Trees, at most; and trees per group of training pairs: pairs of one query say much the same."""

LEARNING_RATE = 0.075

MOST_LEAVES, GROUPS_PER_LEAF = 31, 12
"""Leaves of a tree, at most; and groups for each leaf, of which a tree has at least four."""

MIN_PAIRS = 100
"""Least number of pairs of a leaf, or a fiftieth of all pairs if that is less."""

CALIBRATION_FOLDS = 5
"""Folds of the groups: the calibration is fitted on pairs of folds by trees that have not seen
them."""

FEW_GROUPS = 200
"""Up to this many groups all folds are held out in turn, as a fifth of so few is a matter of
chance; of more groups one fold is."""


def train_trees(
    features: FloatArray,
    is_irrelevant: BoolArray,
    groups: IntArray,
    seed: int,
    is_typical: BoolArray | None = None,
) -> tuple[CalibratedTrees, BoolArray, FloatArray]:
    """Train trees on labelled pairs and calibrate them.

    Features are (P, F) float32, labels (P,) by people or an LLM; pairs of one group (P,) are held
    out together. The calibration is fitted on the pairs alone that are typical, whose share of
    irrelevant items is that of requests; None = all are.

    Returns:
        the trees; the mask (P,) of the pairs that the calibration is fitted on, by other trees
        trained without them; and the probabilities (H,) of these by those trees.
    """
    count = len(np.unique(groups))
    leaves = min(MOST_LEAVES, max(_MIN_LEAVES, count // GROUPS_PER_LEAF))
    size = leaves, min(MOST_ROUNDS, max(_MIN_ROUNDS, int(ROUNDS_PER_GROUP * count)))
    trees = _fit_trees(features, is_irrelevant, size, seed)
    fold = _draw_folds(groups, CALIBRATION_FOLDS, seed)  # (P,)
    num_held_out = fold.max() + 1 if count <= FEW_GROUPS else 1
    scores = np.zeros(len(groups), np.float32)
    for number in range(num_held_out):
        part, rest = fold == number, fold != number
        other = _fit_trees(features[rest], is_irrelevant[rest], size, seed) if rest.any() else trees
        scores[part] = other.predict(features[part], raw_score=True)
    is_held_out = fold < num_held_out
    if is_typical is not None:
        is_held_out &= is_typical
    scores = scores[is_held_out]  # (H,)
    calibration = fit_calibration(scores, is_irrelevant[is_held_out])
    model = _to_onnx(trees.dump_model(), features.shape[1])
    return CalibratedTrees.of(model, calibration), is_held_out, calibration(scores)


def _draw_folds(groups: IntArray, count: int, seed: int) -> IntArray:
    """(P,) fold of each pair, by its group (P,)."""
    group_ids, group_of = np.unique(groups, return_inverse=True)
    folds = np.random.default_rng(seed).permutation(len(group_ids)) % count
    return folds.astype(np.int32)[group_of]


def _fit_trees(
    features: FloatArray, is_irrelevant: BoolArray, size: tuple[int, int], seed: int
) -> Any:
    import lightgbm

    leaves, rounds = size
    settings = {
        "objective": "binary",
        "learning_rate": LEARNING_RATE,
        "num_leaves": leaves,
        "min_data_in_leaf": max(1, min(MIN_PAIRS, len(is_irrelevant) // 50)),
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
    return lightgbm.train(settings, lightgbm.Dataset(features, is_irrelevant), rounds)


def _list_nodes(root: dict[str, Any]) -> Iterator[tuple[int, int, float, str, int, int, float]]:
    """Number, feature, threshold, mode, children and value of all nodes of a tree, breadth first.

    A leaf has no children, a branch no value.
    """
    queue = [root]
    for number, node in enumerate(queue):  # which grows
        if "split_index" in node:
            low = len(queue)
            queue += [node["left_child"], node["right_child"]]
            feature = int(node["split_feature"])
            yield number, feature, _threshold(node), "BRANCH_LEQ", low, low + 1, 0.0
        else:
            yield number, 0, 0.0, "LEAF", 0, 0, float(node["leaf_value"])


def _threshold(node: dict[str, Any]) -> float:
    """The largest float32 that goes to the left child: features are float32."""
    threshold, exact = np.float32(node["threshold"]), float(node["threshold"])
    return float(
        np.nextafter(threshold, np.float32(-np.inf)) if float(threshold) > exact else threshold
    )


def _to_onnx(dump: dict[str, Any], num_features: int) -> bytes:
    """ONNX bytes of a lightgbm model; the outputs of its trees are summed."""
    from onnx import TensorProto, helper

    nodes = [
        (tree, *node)
        for tree, facts in enumerate(dump["tree_info"])
        for node in _list_nodes(facts["tree_structure"])
    ]
    trees, numbers, features, thresholds, modes, lower, higher, _ = zip(*nodes, strict=True)
    leaves = [(node[0], node[1], node[-1]) for node in nodes if node[4] == "LEAF"]
    of_trees, of_nodes, values = zip(*leaves, strict=True)
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["features"],
        ["value"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=trees,
        nodes_nodeids=numbers,
        nodes_featureids=features,
        nodes_values=thresholds,
        nodes_modes=modes,
        nodes_truenodeids=lower,
        nodes_falsenodeids=higher,
        target_treeids=of_trees,
        target_nodeids=of_nodes,
        target_ids=[0] * len(leaves),
        target_weights=values,
    )
    graph = helper.make_graph(
        [node],
        "relevance",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, num_features])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, [None, 1])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    return model


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPairs:
    """Training examples.

    Args:
        is_irrelevant: (P,) labels, by people or an LLM that passed the gate.
        groups: (P,) int32 pairs of one group share a fold.
        is_typical: (P,) pairs whose share of irrelevant items is that of requests.
    """

    queries: IntArray
    items: IntArray
    is_irrelevant: BoolArray
    groups: IntArray
    is_typical: BoolArray
    features: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class TrainedRelevanceModel:
    """A trained relevance model, with predictions for held-out pairs; see ``train_trees``."""

    model: RelevanceModel
    is_held_out: BoolArray
    probabilities: FloatArray


def train_relevance_model(
    features: PairFeatures,
    texts: tuple[QueryTexts, ItemTexts],
    examples: LabelledPairs,
    seed: int,
    users: tuple[UserFeatures, Sequence[RequestUser]] | None = None,
) -> TrainedRelevanceModel:
    """Train projection and trees on labelled pairs.

    Features are fitted on all items and queries, without labels. The model knows users if their
    features, and the user of each query, are given.
    """
    (queries, items), pairs = texts, (examples.queries, examples.items)
    # Each by a projection of other groups; that of all groups is for other pairs.
    projected = out_of_fold_features(
        features, queries, pairs, examples.is_irrelevant, examples.groups, seed
    )
    columns, names = np.hstack([examples.features, projected]), FEATURES
    relevant = pairs[0][~examples.is_irrelevant], pairs[1][~examples.is_irrelevant]
    projection = QueryProjection.fit(features, queries, relevant, seed)
    if users is not None:
        known = np.zeros((len(columns), len(USER_FEATURES)), np.float32)
        for row, own in split_by_query(pairs[0]):
            vector = features.centre_query(queries, row)
            known[own] = users[0].compute(users[1][row], vector, pairs[1][own])
        columns, names = np.hstack([columns, known]), (*FEATURES, *USER_FEATURES)
    labels = examples.is_irrelevant, examples.groups
    trained = train_trees(columns, *labels, seed, examples.is_typical)
    means = features.query_mean, features.item_means
    learned = LearnedRelevance(names, *means, features.reference, projection, trained[0])
    model = RelevanceModel.of(learned, items, features, users[0] if users else None)
    return TrainedRelevanceModel(model, *trained[1:])
