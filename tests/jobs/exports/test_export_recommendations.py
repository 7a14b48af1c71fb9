"""Answers for all users in one file: digests, bought places, what is refused."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from commands import invoke
from fault_server import Body, Reply, completion, configure, data_of, serving
from small_shop import add_settings

from serendip.engine.engine import Engine
from serendip.engine.request import Request
from serendip.errors import ConfigError, DataError, UnsupportedError
from serendip.jobs.exports.recommendations import recommend_all
from serendip.runtime.progress import TrainOptions

USERS = 45


def rows_of(shop: Path, surface: str, k: int = 10, **parameters: Any) -> tuple[dict, list[dict]]:
    out = shop / "out.parquet"
    request = Request(surface, k=k, reasons=False, **parameters)
    summary = recommend_all(shop, request, out, TrainOptions())
    return summary, pq.read_table(out).to_pylist()


def lowest_best(shop: Path) -> float:
    """A value that some users' third best item reaches and others' does not."""
    engine = Engine.open(shop)
    users = [user for user, _ in engine.users(1_000)]
    thirds = sorted(engine.recommend(Request("home", user, k=3)).items[2].score for user in users)
    engine.close()
    return (thirds[20] + thirds[21]) / 2


def test_a_digest_has_few_good_items_and_is_not_sent_where_there_are_too_few(shop: Path) -> None:
    least = lowest_best(shop)
    lines = "[surfaces.post]\ntask = 'home'\nmin_value = {k = 4, min_items = 3, threshold = %r}\n"
    add_settings(shop, lines % least)
    summary, rows = rows_of(shop, "post")
    sent = Counter(row["user_id"] for row in rows)
    assert 0 < len(sent) < USERS
    assert set(sent.values()) <= {3, 4}
    assert all(row["score"] >= least for row in rows)
    assert {row["rank"] for row in rows} <= {1, 2, 3, 4}
    counts = Counter(str(count) for count in sent.values())
    assert summary["users_by_items"] == {"0": USERS - len(sent), **dict(sorted(counts.items()))}
    assert summary["users"] == USERS
    assert summary["rows"] == len(rows)


def test_a_filter_of_a_batch_by_what_no_item_has_is_refused(shop: Path) -> None:
    with pytest.raises(DataError, match="no item has the attribute 'colour'"):
        rows_of(shop, "home", filters=("colour=red",))
    assert not (shop / "out.parquet").exists()


@pytest.mark.parametrize(
    ("surface", "needed"), [("cart", "an item"), ("similar", "an item"), ("search", "a text")]
)
def test_a_surface_that_needs_more_than_a_user_is_refused(
    shop: Path, surface: str, needed: str
) -> None:
    with pytest.raises(UnsupportedError, match=f"'{surface}'.*which needs {needed}"):
        rows_of(shop, surface)


def recommend(shop: Path, *more: str) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
    out = shop / "out.parquet"
    code, told = invoke(
        "recommend", "-w", str(shop), "--batch", "--out", str(out), "-k", "2", *more
    )
    return code, told, pq.read_table(out).to_pylist() if out.exists() else []


def word(body: Body, number: int) -> Reply:
    """Words all reasons but one kind, which it praises as nobody asked for."""
    data = data_of(body)
    sentence = data["sentence"][0].lower() + data["sentence"][1:]
    ending = "so here it is" if "next" not in sentence else "and Horror is the best"
    return completion(json.dumps({"id": data["id"], "sentence": f"because: {sentence}, {ending}"}))


def test_the_file_has_the_reasons_that_are_served(shop: Path) -> None:
    code, _, rows = recommend(shop, "--reasons", "--language", "ko")
    assert code == 0
    engine = Engine.open(shop)
    answer = engine.recommend(Request("home", "u3", k=2, language="ko"))
    engine.close()
    served = {(item.item_id, item.reason) for item in answer.items}
    assert {(row["item_id"], row["reason"]) for row in rows if row["user_id"] == "u3"} == served
    assert "reason" not in recommend(shop)[2][0]


def test_an_llm_words_their_sentences_and_what_it_adds_is_dropped(shop: Path) -> None:
    plain = [row["reason"] for row in recommend(shop, "--reasons")[2]]
    (shop / "out.parquet").unlink()
    with serving(word) as server:
        configure(shop, server.address)
        place = ("--reasons", "--budget", "1")
        code, told, rows = recommend(shop, *place, "--estimate")
        assert code == 0 and told["llm"]["estimate"]["questions"] and not rows
        assert not server.bodies
        code, told, rows = recommend(shop, *place)
    facts = told["llm"]
    sentences = {data_of(body)["sentence"] for body in server.bodies}
    assert facts["sentences"] == len(sentences) and "Similar to {title}" in sentences
    assert code == 1 and facts["state"] == "partial"
    assert 0 < facts["written"] == len(facts["wordings"]) < facts["sentences"]
    worded = [row["reason"] for row in rows if row["reason"].startswith("because:")]
    assert worded
    kept = [row["reason"] for row in rows if not row["reason"].startswith("because:")]
    assert kept and set(kept) <= set(plain)


def test_an_llm_words_only_the_reasons_of_a_file(shop: Path) -> None:
    with pytest.raises(ConfigError, match="--budget or --estimate without --batch"):
        invoke("recommend", "-w", str(shop), "--budget", "1")
