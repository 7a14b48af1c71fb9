"""What a training says of the context that it chose."""

from __future__ import annotations

import pytest

from serendip.cli.terminal import Terminal
from serendip.jobs.train.ranker.context_choice import ContextChoice, PartGain


def test_kept_and_other_parts_are_named_with_their_gains(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gains = (
        PartGain("country", 0.1, 0.012, 0.004, 0.0204),
        PartGain("device", 0.1, -0.001, -0.002, 0.001),
    )
    Terminal().print_context(ContextChoice(("country",), gains, 80).as_dict())
    assert capsys.readouterr().out.splitlines() == [
        "  context: country kept (nDCG@10 +0.012, +0.004 to +0.020)",
        "  context: device left out (nDCG@10 -0.001, -0.002 to +0.001)",
    ]


def test_without_a_test_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().print_context(ContextChoice(note="the newest requests are too few").as_dict())
    assert capsys.readouterr().out == ""
