"""Reasons in the file for all users: by templates, and worded by an LLM from the same evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import invoke
from fault_server import Body, Reply, completion, configure, data_of, serving

from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.errors import ConfigError


def recommend(shop: Path, *more: str) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
    out = shop / "out.parquet"
    code, told = invoke(
        "recommend", "-w", str(shop), "--batch", "--out", str(out), "-k", "2", *more
    )
    return code, told, pq.read_table(out).to_pylist() if out.exists() else []


def word(body: Body, number: int) -> Reply:
    """Words every other reason; the others praise what nobody asked for."""
    data = data_of(body)
    reason = data["reason"][0].lower() + data["reason"][1:]
    ending = "so here it is" if number % 2 else "and horror is the best"
    return completion(json.dumps({"id": data["id"], "sentence": f"because: {reason}, {ending}"}))


def test_the_file_has_the_reasons_that_are_served(shop: Path) -> None:
    code, _, rows = recommend(shop, "--reasons", "--language", "ko")
    assert code == 0
    engine = Engine.open(shop)
    answer = engine.recommend(Request("home", "u3", k=2, language="ko"))
    engine.close()
    served = {(item.item_id, item.reason) for item in answer.items}
    assert {(row["item_id"], row["reason"]) for row in rows if row["user_id"] == "u3"} == served
    assert "reason" not in recommend(shop)[2][0]


def test_an_llm_words_them_and_what_it_adds_is_dropped(shop: Path) -> None:
    plain = [row["reason"] for row in recommend(shop, "--reasons")[2]]
    (shop / "out.parquet").unlink()
    with serving(word) as server:
        configure(shop, server.address)
        place = ("--reasons", "--budget", "1")
        code, told, rows = recommend(shop, *place, "--estimate")
        assert code == 0 and told["llm"]["estimate"]["questions"] and not rows
        assert not server.bodies
        code, told, rows = recommend(shop, *place)
        asked = len(server.bodies)
        recommend(shop, *place)
        assert len(server.bodies) == asked  # the ledger has the answers
    facts = told["llm"]
    assert code == 0 and facts["reasons"] == asked
    assert facts["worded"] + sum(facts["dropped"].values()) == asked
    assert (
        facts["worded"] >= asked // 3 and facts["dropped"]["names another thing of the catalogue"]
    )
    worded = [row["reason"] for row in rows if row["reason"].startswith("because:")]
    assert worded
    kept = [row["reason"] for row in rows if not row["reason"].startswith("because:")]
    assert kept and set(kept) <= set(plain)


def test_an_llm_words_only_the_reasons_of_a_file(shop: Path) -> None:
    with pytest.raises(ConfigError, match="--budget or --estimate without --batch"):
        invoke("recommend", "-w", str(shop), "--budget", "1")
