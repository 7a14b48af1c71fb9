"""The life cycle of semantic IDs over the commands: built, extended, refitted, looked at."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from commands import invoke
from small_shop import import_shop
from typer.testing import CliRunner

from serendip.cli.main import app
from serendip.data.items.catalogue import Item
from serendip.engine.workspace import Workspace
from serendip.errors import ArtefactError, ConfigError, DataError, NotTrainedError, UnknownItemError


def ids(shop: Path, *arguments: str) -> dict[str, Any]:
    """The JSON document of ``serendip ids ...``; its error where it fails."""
    code, document = invoke("ids", *arguments, "-w", str(shop))
    assert code == 0
    return document


def put(shop: Path, *items: Item) -> None:
    with closing(Workspace.open(shop).open_store()) as store:
        store.put_items(items)


def horror(number: int) -> Item:
    return Item(f"new{number}", f"The horror tale number {number}", "", {"genre": "horror"})


def full_ids(shop: Path, names: list[str]) -> dict[str, str]:
    return {name: ids(shop, "show", name)["full_id"] for name in names}


def test_the_first_build_codes_everything_and_the_next_one_has_nothing_to_do(fresh: Path) -> None:
    first = ids(fresh, "build")
    assert (first["version"], first["created"], first["parent"]) == ("v1", True, None)
    assert first["changes"] == {"refit": True, "new": 60}
    assert (fresh / "semantic_ids" / "current").read_text() == "v1\n"
    second = ids(fresh, "build")
    assert (second["version"], second["created"]) == ("v1", False)
    assert not (fresh / "semantic_ids" / "v2").exists()


def test_new_items_are_appended_and_known_ones_keep_their_ids(fresh: Path) -> None:
    ids(fresh, "build")
    names = [f"i{number}" for number in range(0, 60, 7)]
    before = full_ids(fresh, names)
    put(fresh, horror(1), horror(2))
    built = ids(fresh, "build")
    assert (built["version"], built["parent"]) == ("v2", "v1")
    assert built["changes"] == {"new": 2, "recoded": 0, "gone": 0, "back": 0}
    assert full_ids(fresh, names) == before
    found = ids(fresh, "diff", "v1", "v2")
    assert (found["shared"], found["new"], found["moved"]) == (60, 2, 0)
    assert found["kept"] == [1.0, 1.0, 1.0]


def test_an_item_with_other_words_is_coded_again_and_alone(fresh: Path) -> None:
    ids(fresh, "build")
    put(fresh, Item("i0", "The comedy tale number 1", "", {"genre": "comedy"}))
    assert ids(fresh, "build")["changes"]["recoded"] == 1
    found = ids(fresh, "diff", "v1", "v2")
    assert [one["item_id"] for one in found["examples"]] == ["i0"]
    assert ids(fresh, "show", "i0")["codes"] == ids(fresh, "show", "i1")["codes"]


def test_a_deleted_item_leaves_its_group_and_comes_back_to_its_id(fresh: Path) -> None:
    ids(fresh, "build")
    before = ids(fresh, "show", "i5")
    with closing(Workspace.open(fresh).open_store()) as store:
        store.delete_item("i5")
    assert ids(fresh, "build")["changes"]["gone"] == 1
    assert ids(fresh, "show", "i5")["listed"] is False
    put(fresh, Item("i5", "The western tale number 5", "", {"genre": "western"}))
    assert ids(fresh, "build")["changes"]["back"] == 1
    assert ids(fresh, "show", "i5")["full_id"] == before["full_id"]


def test_a_refit_on_the_same_items_keeps_nearly_all_codes(fresh: Path) -> None:
    ids(fresh, "build")
    built = ids(fresh, "build", "--refit", "--seed", "3")
    assert built["version"] == "v2"
    kept = built["changes"]["kept"]
    assert len(kept) == 4
    assert kept[0] > 0.9
    found = ids(fresh, "diff", "v1", "v2")
    assert found["kept"] == kept[:-1]
    assert found["moved"] == round(60 * (1 - kept[-1]))


def test_full_ids_are_unique(fresh: Path) -> None:
    put(fresh, *(Item(f"twin{n}", "The same words", "", {"genre": "horror"}) for n in range(5)))
    ids(fresh, "build")
    twins = full_ids(fresh, [f"twin{n}" for n in range(5)])
    assert len(set(twins.values())) == 5
    assert len({name.rsplit("-", 1)[0] for name in twins.values()}) == 1


def test_a_crash_before_the_pointer_moves_leaves_the_old_version(fresh: Path) -> None:
    ids(fresh, "build")
    folder = fresh / "semantic_ids"
    put(fresh, horror(1))
    ids(fresh, "build")
    # What is on the disk between the rename and the pointer, and a folder left half-written.
    (folder / "current").write_text("v1\n")
    (folder / ".building-v3").mkdir()
    assert ids(fresh, "show", "i0")["version"] == "v1"
    with pytest.raises(UnknownItemError):
        ids(fresh, "show", "new1")
    built = ids(fresh, "build")
    assert (built["version"], built["parent"], built["changes"]["new"]) == ("v3", "v1", 1)
    assert not list(folder.glob(".building-*"))


def test_an_altered_version_is_refused(fresh: Path) -> None:
    ids(fresh, "build")
    (fresh / "semantic_ids" / "v1" / "names.json").write_text("{}")
    with pytest.raises(ArtefactError, match="altered"):
        ids(fresh, "show", "i0")


def test_a_group_has_its_members_and_a_name(fresh: Path) -> None:
    ids(fresh, "build")
    item = ids(fresh, "show", "i0")
    first, *_, last = item["prefixes"]
    assert first["prefix"] == str(item["codes"][0])
    assert "horror" in first["name"].casefold()
    group = ids(fresh, "show", last["prefix"] + "-")
    assert group["members"] == last["members"]
    assert (group["num_groups"], group["groups"]) == (0, [])
    assert "i0" in {one["item_id"] for one in group["items"]}
    assert group["items"][0]["title"].startswith("The horror tale")
    assert group["name"].startswith(first["name"])


def test_a_group_is_told_with_the_groups_in_it(fresh: Path) -> None:
    ids(fresh, "build")
    group = ids(fresh, "show", "0-")
    parts = group["groups"]
    assert sum(part["items"] for part in parts) == group["members"]
    assert group["num_groups"] == len(parts)
    assert [part["items"] for part in parts] == sorted((p["items"] for p in parts), reverse=True)
    assert ids(fresh, "show", parts[0]["prefix"] + "-")["members"] == parts[0]["items"]


def test_an_id_that_looks_like_a_prefix_is_the_item(fresh: Path) -> None:
    put(fresh, Item("0", "The horror tale"))
    ids(fresh, "build")
    assert ids(fresh, "show", "0")["item_id"] == "0"
    assert ids(fresh, "show", "0-")["prefix"] == "0"


@pytest.mark.parametrize("name", ["nothing", "99", "0-0-0-0", "-", "1--2", "9" * 30])
def test_what_is_not_there_is_named(fresh: Path, name: str) -> None:
    ids(fresh, "build")
    done = CliRunner().invoke(app, ["ids", "show", "-w", str(fresh), "--", name])
    assert isinstance(done.exception, UnknownItemError)


def test_the_part_of_a_prefix_that_is_in_use_is_told(fresh: Path) -> None:
    ids(fresh, "build")
    with pytest.raises(UnknownItemError) as told:
        ids(fresh, "show", "3-999")
    assert told.value.hint == "3 is in use: `serendip ids show 3-` lists its groups."


def test_a_diff_begins_with_the_items_that_left_their_largest_group(fresh: Path) -> None:
    ids(fresh, "build")
    put(fresh, Item("i0", "The comedy tale number 1", "", {"genre": "comedy"}))
    put(fresh, Item("i57", "The horror tale number 2", "", {"genre": "horror"}))
    ids(fresh, "build")
    examples = ids(fresh, "diff", "v1", "v2")["examples"]
    first = [one["before"].split("-")[0] != one["after"].split("-")[0] for one in examples]
    assert first == sorted(first, reverse=True)
    assert examples[0]["title"] == "The comedy tale number 1"


def test_a_report_measures_codes_against_content_and_behaviour(fresh: Path) -> None:
    ids(fresh, "build")
    report = ids(fresh, "report")
    assert report == json.loads((fresh / "reports" / "semantic-ids.json").read_text())
    assert report["num_items"] == 60
    for used, dead, largest in zip(report["used"], report["dead"], report["largest"], strict=True):
        assert used + dead == 8
        assert 1 / used <= largest <= 1
    assert report["neighbour_agreement"] > 0.5
    agreement = report["pair_agreement"]
    assert agreement["together"] > 1.5 * agreement["by_chance"]
    assert sum(group["items"] for group in report["groups"]) == 60
    for sizes, used in zip(report["sizes"], report["used"], strict=True):
        assert (sum(sizes), sum(size > 0 for size in sizes)) == (60, used)
        assert sizes == sorted(sizes, reverse=True)
    assert sum(report["shared_by"]) == 60
    assert 1 - report["shared_by"][0] / 60 == pytest.approx(report["collision_rate"])


def test_the_report_is_a_page_too_with_what_stayed_since_the_version_before(fresh: Path) -> None:
    ids(fresh, "build")
    page = fresh / "reports" / "semantic-ids.html"
    assert ids(fresh, "report")["kept"] is None
    assert "Kept from" not in page.read_text()
    put(fresh, Item("evil", "<script>alert(1)</script> & co", "", {"genre": "horror"}))
    kept = ids(fresh, "build", "--refit", "--seed", "3")["changes"]["kept"]
    report = ids(fresh, "report")
    assert [*report["kept"]["kept"], report["kept"]["kept_all_levels"]] == kept
    assert "Kept from v1 to v2" in page.read_text()
    shutil.rmtree(fresh / "semantic_ids" / "v1")
    assert ids(fresh, "report")["kept"] is None


def test_aligned_and_content_codes_are_versions_to_be_compared(fresh: Path) -> None:
    ids(fresh, "build")
    settings = fresh / "serendip.toml"
    settings.write_text(settings.read_text() + '\n[semantic_ids]\nvectors = "aligned"\n')
    with pytest.raises(ConfigError, match="vectors was 'content', now 'aligned'"):
        ids(fresh, "build")
    assert ids(fresh, "build", "--refit")["version"] == "v2"
    assert ids(fresh, "report")["made_from"]["semantic_ids"]["vectors"] == "aligned"
    put(fresh, horror(1))
    assert ids(fresh, "build")["changes"]["new"] == 1
    assert ids(fresh, "diff", "v2", "v3")["moved"] == 0


def test_plain_k_means_has_a_life_cycle_too(fresh: Path) -> None:
    settings = fresh / "serendip.toml"
    settings.write_text(settings.read_text() + '\n[semantic_ids]\nmethod = "k-means"\n')
    ids(fresh, "build")
    assert len(ids(fresh, "show", "i0")["codes"]) == 1
    assert ids(fresh, "build", "--refit")["changes"]["kept"][0] > 0.9


def test_before_the_first_build_there_is_nothing_to_see(fresh: Path) -> None:
    for arguments in (["show", "i0"], ["report"]):
        with pytest.raises(NotTrainedError, match="no semantic IDs"):
            ids(fresh, *arguments)
    with pytest.raises(DataError, match="no version 'v1'"):
        ids(fresh, "diff", "v1", "v2")
    with pytest.raises(DataError, match=r"no version '\.\./v1'"):
        ids(fresh, "diff", "../v1", "v2")


def test_the_same_seed_gives_the_same_codes(fresh: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    import_shop(other)
    for folder in (fresh, other):
        ids(folder, "build", "--seed", "5")
    left, right = (
        (folder / "semantic_ids" / "v1" / "codebooks.safetensors").read_bytes()
        for folder in (fresh, other)
    )
    assert left == right


def test_people_read_lines(fresh: Path) -> None:
    for arguments, words in (
        (["build"], "v1 is current: codebooks fitted, 60 new"),
        (["build"], "v1 is up to date"),
        (["show", "i0"], "i0  The horror tale number 0"),
        (["show", "0-"], "items  "),
        (["report"], "by chance"),
        (["report"], "semantic-ids.html"),
        (["diff", "v1", "v1"], "60 items in both, 0 moved"),
    ):
        done = CliRunner().invoke(app, ["ids", *arguments, "-w", str(fresh)])
        assert done.exit_code == 0, done.output
        assert words in done.stdout
