"""What only training needs: the extra ``train``, which a service does without."""

from __future__ import annotations

from importlib.util import find_spec

from serendip.errors import ExtraMissing

TRAINING_PACKAGES = ("torch", "onnx", "lightgbm")
"""Import names of the packages of the extra ``train``."""


def require_training() -> None:
    """Check that the extra ``train`` is installed; a job calls it before its first step.

    Raises:
        ExtraMissing: a package is missing.
    """
    missing = [name for name in TRAINING_PACKAGES if find_spec(name) is None]
    if missing:
        raise ExtraMissing(
            f"this needs the extra `train`, of which {', '.join(missing)} cannot be imported.",
            'Run `pip install "serendip[train]"`.',
        )
