import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from serendip.cli import main
from serendip.config import validate
from serendip.engine.config.settings import Settings

ROOT = Path(__file__).parent.parent
BENCH = ROOT / "bench" / "src"
sys.path.append(str(ROOT / "dev"))

import reference  # noqa: E402

PAGES = sorted([*ROOT.glob("[!C]*.md"), ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
PAGES.append(ROOT / "dev" / "lab-log.md")
HISTORY = {"lab-log.md"}
"""Dated entries, which name what there was on their day."""
TEXTS = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES}
COMMANDS = get_command(main.app)


def _blocks(text: str, *languages: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [body for language, body in found if language in languages]


def _shell_lines(text: str) -> Iterator[list[str]]:
    """The words of every command line of a page, comments left out."""
    for block in _blocks(text, "sh", "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def _commands(text: str) -> Iterator[list[str]]:
    """Calls of ``serendip`` in blocks, and in the first column of tables, without the name."""
    for words in _shell_lines(text):
        if words[0] == "serendip":
            yield words[1:]
    for call in re.findall(r"^\| `serendip ([^`]+)` \|", text, re.MULTILINE):
        yield shlex.split(call)


def _wrong(words: list[str]) -> str:
    """What is wrong with a call of ``serendip``; empty = nothing."""
    command, rest = COMMANDS, list(words)
    while isinstance(command, TyperGroup):
        name = rest.pop(0) if rest else ""
        if name not in command.commands:
            return f"no command {name!r} in {words}"
        command = command.commands[name]
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    unknown = {word for word in rest if re.match(r"-{1,2}[a-z]", word)} - known
    return f"no option {sorted(unknown)} in {words}" if unknown else ""


@pytest.mark.parametrize("name", TEXTS)
def test_every_command_and_option_exists(name: str) -> None:
    assert [wrong for words in _commands(TEXTS[name]) if (wrong := _wrong(words))] == []


def test_commands_are_found_and_wrong_ones_are_seen() -> None:
    assert sum(1 for text in TEXTS.values() for _ in _commands(text)) > 60
    assert _wrong(["train", "--quick"]) == "no option ['--quick'] in ['train', '--quick']"
    assert _wrong(["judge", "guess"]) == "no command 'guess' in ['judge', 'guess']"


FIGURE = re.compile(r"\(-?[+-]?\.\d+ ?(?:to|-) ?[+-]?\.\d+\)|[+-]\.\d{3}|(?<!\d)\.\d{4}")
"""An interval, a difference or a metric."""


@pytest.mark.parametrize(
    "name",
    # The page of the keynote says for each of its systems how ours measures.
    [n for n in TEXTS if not n.startswith(("docs/results/", "dev/")) and n != "docs/keynote.md"],
)
def test_figures_are_in_the_results_and_nowhere_else(name: str) -> None:
    assert FIGURE.findall(TEXTS[name]) == []


@pytest.mark.parametrize("name", [name for name in TEXTS if name.startswith("docs/results/")])
def test_every_table_of_figures_has_its_command_and_commit(name: str) -> None:
    head, *sections = re.split(r"^## ", TEXTS[name], flags=re.MULTILINE)
    for section in sections:
        if FIGURE.search(section):
            title = section.splitlines()[0]
            is_settled = "Settled (`" in head + section
            assert is_settled or _blocks(section, "sh"), f"{title}: no command"
            assert re.search(r"\b[0-9a-f]{7,8}\b", head + section), title


def test_all_commands_but_those_that_serve_have_json_as_the_readme_says() -> None:
    without, left = set(), [((), COMMANDS)]
    while left:
        path, command = left.pop()
        if isinstance(command, TyperGroup):
            left += [((*path, name), one) for name, one in command.commands.items()]
        elif not any("--json" in one.opts for one in command.params):
            without.add(path)
    assert without == {("serve",), ("mcp",)}


@pytest.mark.parametrize("name", TEXTS)
def test_every_block_of_settings_is_valid(name: str) -> None:
    for block in _blocks(TEXTS[name], "toml"):
        validate(Settings, tomllib.loads(block), name)


@pytest.mark.parametrize("name", TEXTS)
def test_every_script_and_its_options_exist(name: str) -> None:
    for words in _shell_lines(TEXTS[name]):
        if words[0] == "python":
            is_module = words[1] == "-m"
            path = BENCH / (words[2].replace(".", "/") + ".py") if is_module else ROOT / words[1]
            text = path.read_text()
            options = [word for word in words if word.startswith("--")]
            assert [option for option in options if f'"{option}"' not in text] == []


@pytest.mark.parametrize("name", [name for name in TEXTS if Path(name).name not in HISTORY])
def test_every_file_named_exists(name: str) -> None:
    roots = (ROOT, ROOT / "src", ROOT / "src" / "serendip")
    paths = re.findall(r"`((?:[\w-]+/)+[\w-]+\.(?:py|md|txt|lock|html))`", TEXTS[name])
    made = ("reports/", "demo/")
    assert [
        path
        for path in paths
        if not path.startswith(made) and not any((root / path).exists() for root in roots)
    ] == []


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.lower()).strip().replace(" ", "-") for one in headings}


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_leads_somewhere(name: str) -> None:
    page = ROOT / name
    for link in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target.read_text()), link


@pytest.mark.parametrize("name", list(reference.pages()))
def test_the_reference_is_what_the_code_says(name: str) -> None:
    assert reference.written(name) == reference.pages()[name], "run python dev/reference.py"
