"""Write docs/reference/ from the code: every setting, command, HTTP endpoint and contract suite.

    python dev/reference.py            write the pages
    python dev/reference.py --check    write nothing; exit code 1 = a page differs from the code

Words come from attribute docstrings (settings), option help (commands), the OpenAPI document (HTTP)
and docstrings (contract suites), so the way to change a sentence of these pages is to change it
there.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from pydantic.fields import FieldInfo
from starlette.testclient import TestClient
from typer.core import TyperGroup
from typer.main import get_command

from serendip import testing
from serendip.cli import main as command_line
from serendip.config import Config
from serendip.engine.config.settings import Settings
from serendip.engine.stages.surfaces import DEFAULT_SURFACES
from serendip.serve.access import Access
from serendip.serve.app import build_app
from serendip.serve.engine_holder import EngineHolder
from serendip.serve.gate import EngineGate

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
NOTE = "<!-- Written by `python dev/reference.py`; change the code, not this page. -->\n"
ROW_NAME = "NAME"
"""Stands for the names that people choose themselves: ``[surfaces.NAME]``."""


def main() -> int:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description="Write docs/reference/ from the code.")
    parser.add_argument("--check", action="store_true", help="Write nothing, compare.")
    is_check = parser.parse_args().check
    different = [name for name, text in pages().items() if text != written(name)]
    for name in different:
        if is_check:
            sys.stderr.write(f"{FOLDER / name} differs: run python dev/reference.py\n")
        else:
            FOLDER.mkdir(parents=True, exist_ok=True)
            (FOLDER / name).write_text(pages()[name], encoding="utf-8")
    return int(is_check and bool(different))


def pages() -> dict[str, str]:
    """File name -> what the code says now."""
    return {
        "settings.md": settings_page(),
        "commands.md": commands_page(),
        "bench.md": bench_page(),
        "http.md": http_page(),
        "testing.md": testing_page(),
    }


def written(name: str) -> str:
    """A page as it is; empty where there is none."""
    path = FOLDER / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def settings_page() -> str:
    """All tables of ``serendip.toml``."""
    parts = [
        NOTE,
        "# Settings\n\nThe tables of `serendip.toml`. A missing table or key has its default, an "
        "unknown key is an error; [variables of the environment]"
        "(../guide/share.md#settings-of-the-environment) override the file. What decides the "
        "result of a training is here; how it runs (device, processes, seed) is an option of the "
        "[command](commands.md).\n",
    ]
    for name, field in Settings.model_fields.items():
        parts += model_tables(field) if name == "models" else config_tables((name,), field)
    return "\n".join([*parts, built_in_surfaces()])


def model_tables(field: FieldInfo) -> Iterator[str]:
    """``[models.NAME]`` of the models that a workspace has without settings, if they have any."""
    yield f"## `[models]`\n\n{prose(field.description)}\n"
    settings = Settings()
    for name, model in settings.models.build(settings.unified).items():
        config = model.config
        rows = [setting_row(key, one, config) for key, one in config.settings().items()]
        if not rows:
            continue
        heads = ("key", "value", "default", "meaning")
        yield f"### `[models.{name.replace('-', '_')}]`\n\n{table(heads, rows)}"


def config_tables(path: tuple[str, ...], field: FieldInfo) -> Iterator[str]:
    """The table of a field, then those inside it."""
    shape = field.annotation
    names = (*path, ROW_NAME) if get_origin(shape) is dict else path
    for config in configs_of(shape):
        level = "#" * min(len(path) + 1, 4)
        yield f"{level} `[{'.'.join(names)}]`\n\n{prose(field.description)}\n"
        fields = config.settings().items()
        plain = [(key, one) for key, one in fields if not is_table(one)]
        nested = [(key, one) for key, one in fields if is_table(one)]
        default = field.default if isinstance(field.default, config) else None
        if plain:
            rows = [setting_row(key, one, default) for key, one in plain]
            yield table(("key", "value", "default", "meaning"), rows)
        for key, one in nested:
            yield from config_tables((*names, key), one)


def is_table(field: FieldInfo) -> bool:
    """Whether a field is a table of its own in the file, and not one value."""
    return any(configs_of(field.annotation))


def configs_of(shape: Any) -> Iterator[type[Config]]:
    """Config classes inside an annotation."""
    if isinstance(shape, type) and issubclass(shape, Config):
        yield shape
    for part in get_args(shape):
        yield from configs_of(part)


def setting_row(key: str, field: FieldInfo, default: Config | None) -> tuple[str, ...]:
    """One line of a table of settings."""
    if default is not None:
        value = toml(getattr(default, key))
    elif field.is_required():
        value = "required"
    else:
        value = toml(field.get_default(call_default_factory=True))
    limits = [one for one in map(limit, field.metadata) if one]
    words = " ".join([shape_name(field.annotation), ", ".join(limits)]).strip()
    return f"`{key}`", words, value, prose(field.description)


def limit(rule: Any) -> str:
    """A bound of a value in signs; empty = not a bound."""
    for name, sign in (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<=")):
        if hasattr(rule, name):
            return f"{sign} {getattr(rule, name)}"
    return ""


def shape_name(shape: Any) -> str:
    """What may stand in the file."""
    simple = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    if shape in simple:
        return simple[shape]
    origin, parts = get_origin(shape), [part for part in get_args(shape) if part is not NoneType]
    if origin is Annotated:
        return " ".join([shape_name(parts[0]), *filter(None, map(limit, parts[1:]))])
    if origin is Literal:
        return ", ".join(toml(part) for part in parts)
    if origin in (Union, UnionType):
        return " or ".join(shape_name(part) for part in parts)
    if origin is tuple:
        return f"list of {shape_name(parts[0])}"
    return f"table: {shape_name(parts[1])} for each name" if origin is dict else str(shape)


def toml(value: Any) -> str:
    """A value as it is written in the file."""
    if value is None or value == {}:
        return "none"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key} = {json.dumps(one)}" for key, one in value.items())
        return f"`{{{inner}}}`"
    plain = json.dumps(value, ensure_ascii=False)
    return f"`{plain}`"


def built_in_surfaces() -> str:
    """The surfaces that exist without any settings."""
    rows = [
        (
            f"`{name}`",
            f"`{one.task}`",
            ", ".join(one.context),
            ", ".join(f"{source} {quota}" for source, quota in one.sources.items()),
            ", ".join(str(part) for part in one.filters) or "none",
        )
        for name, one in DEFAULT_SURFACES.items()
    ]
    heads = ("surface", "task", "context", "sources and quotas", "filters")
    return f"## Built-in surfaces\n\n{table(heads, rows)}"


def commands_page() -> str:
    """Every command with its options."""
    codes = " ".join((command_line.__doc__ or "").split("\n\n")[1].split())
    parts = [
        NOTE,
        "# Commands\n\nCommands work on the current folder or on `--workspace FOLDER`. "
        f"All but `serve` take `--json`.\n\n{codes}\n",
    ]
    return "\n".join([*parts, *command_sections("serendip.")])


def bench_page() -> str:
    """Every command of the package of benchmarks."""
    head = "# Benchmarks\n\nCommands of `serendip-bench`, a distribution of its own.\n"
    return "\n".join([NOTE, head, *command_sections("serendip_bench.")])


def command_sections(package: str) -> Iterator[str]:
    """A section for each command that a package defines."""
    for name, command in leaves("serendip", get_command(command_line.app)):
        if not command.callback.__module__.startswith(package):
            continue
        rows = [option_row(one) for one in command.params if one.name != "help"]
        body = table(("option", "default", "meaning"), rows) if rows else ""
        yield f"## `{name}`\n\n{prose(command.help)}\n\n{body}"


def leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """(words, command) of all that can be run."""
    if not isinstance(command, TyperGroup):
        yield name, command
        return
    for part, inner in command.commands.items():
        yield from leaves(f"{name} {part}", inner)


def option_row(option: Any) -> tuple[str, str, str]:
    """One line of a table of options."""
    name = ", ".join([*option.opts, *option.secondary_opts])
    if option.param_type_name == "argument":
        name = option.name.upper()
    elif not option.is_flag:
        name += " VALUE"
    is_plain = option.default in (None, "", False) or callable(option.default)
    default = "" if is_plain else f"`{option.default}`"
    text = prose(getattr(option, "help", ""))
    return f"`{name}`", "required" if option.required else default, text


def openapi_document() -> dict[str, Any]:
    """What the service publishes at ``/openapi.json``."""
    app = build_app(EngineGate(EngineHolder()), Access())
    document = TestClient(app, base_url="http://127.0.0.1:8080").get("/openapi.json").json()
    return cast(dict[str, Any], document)


def http_page() -> str:
    """Every endpoint, from the OpenAPI document that the service publishes."""
    document = openapi_document()
    parts = [
        NOTE,
        "# HTTP\n\nThe same as the service says at `/openapi.json`, and shows at `/docs`. Reads "
        "take the same names as parameters of a GET and as the JSON body of a POST. Once the "
        "workspace has a "
        "[key](../guide/share.md#keys), requests need one with the scope. Errors are "
        '`{"error": {"type", "message", "hint", "request_id"}}`.\n',
    ]
    for path, operations in document["paths"].items():
        parts.append(endpoint(path, operations, document))
    return "\n".join([*parts, error_statuses(document)])


def endpoint(path: str, operations: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """One path with its methods, which differ in what they do or in how it is asked for."""
    parts, shown = [], ""
    for method, operation in operations.items():
        text = prose(operation["description"])
        title = ("" if text == shown else f" {text}") + scope_note(operation)
        rows = list(parameter_rows(operation, document))
        is_same = method == "post" and "get" in operations
        body = "The same names, as JSON." if is_same else table(("name", "value", "meaning"), rows)
        parts.append(f"**{method.upper()}**{title}\n\n{body if rows or is_same else ''}")
        shown = text
    return f"## `{path}`\n\n" + "\n".join(part.rstrip() + "\n" for part in parts)


def scope_note(operation: Mapping[str, Any]) -> str:
    """The scopes that a key needs for an operation."""
    scopes = [scope for one in operation["security"] for scope in one.get("key", ())]
    if not scopes:
        return " No key."
    return f" Scope{'s' if len(scopes) > 1 else ''} {' and '.join(f'`{one}`' for one in scopes)}."


def parameter_rows(operation: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[Any]:
    """(name, value, meaning) of parameters, then of the fields of a body."""
    for one in operation.get("parameters", ()):
        text = prose(one.get("description"))
        yield json_row(one["name"], one["schema"], text, one["required"], document)
    for content in operation.get("requestBody", {}).get("content", {}).values():
        body = resolve(content["schema"], document)
        body = resolve(body.get("anyOf", [body])[0], document)
        for name, schema in body.get("properties", {}).items():
            is_required = name in body.get("required", ())
            yield json_row(name, schema, prose(schema.get("description")), is_required, document)


def json_row(
    name: str, schema: Mapping[str, Any], text: str, is_required: bool, document: Mapping[str, Any]
) -> tuple[str, str, str]:
    """One line of a table of parameters."""
    default = resolve(schema, document).get("default")
    kind = json_kind(schema, document)
    if is_required:
        kind += ", required"
    elif default not in (None, "", {}, []):
        kind += f", default {json.dumps(default)}"
    return f"`{name}`", kind, text


def json_kind(schema: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """What a JSON value may be."""
    plain = resolve(schema, document)
    if "anyOf" in plain:
        kinds = [json_kind(one, document) for one in plain["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in plain:
        return ", ".join(f"`{one}`" for one in plain["enum"])
    kind = str(plain.get("type", "any"))
    if kind == "array":
        return f"list of {json_kind(plain.get('items', {}), document)}"
    bounds = [f"{plain[name]:.0f}" for name in ("minimum", "maximum") if name in plain]
    return f"{kind} {' to '.join(bounds)}".strip() if len(bounds) == 2 else kind


def resolve(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema itself where another one only points to it."""
    if "$ref" not in schema:
        return schema
    found: Any = document
    for part in str(schema["$ref"]).removeprefix("#/").split("/"):
        found = found[part]
    return resolve(found, document)


def error_statuses(document: Mapping[str, Any]) -> str:
    """What every status means."""
    texts: dict[str, str] = {}
    for operations in document["paths"].values():
        for operation in operations.values():
            texts |= {
                status: prose(one["description"])
                for status, one in operation["responses"].items()
                if status != "200"
            }
    rows = [(f"`{status}`", text) for status, text in sorted(texts.items())]
    return f"## Errors\n\n{table(('status', ''), rows)}"


def testing_page() -> str:
    """Every contract suite with what a subclass gives and what is tested, and the small worlds."""
    names = [getattr(testing, name) for name in testing.__all__]
    suites = [one for one in names if isinstance(one, type)]
    suites.sort(key=lambda one: (one.__module__, inspect.getsourcelines(one)[1]))
    functions = [one for one in names if not isinstance(one, type)]
    worlds = [(f"`{one.__name__}{signature(one)}`", paragraphs(one)[0]) for one in functions]
    parts = [
        NOTE,
        "# Contract suites\n\n`from serendip.testing import ...`, with "
        '`pip install "serendip[testing]"`. A test class that inherits a suite is tested by it.\n',
        *map(suite_section, suites),
        f"## Small worlds\n\n{table(('function', 'what it does'), worlds)}",
    ]
    return "\n".join(parts)


def suite_section(suite: type) -> str:
    """A contract suite: its docstring, its abstract methods and its tests."""
    own = list(vars(suite))
    given = [name for name in own if name in getattr(suite, "__abstractmethods__", ())]
    tests = [name for name in own if name.startswith("test_")]
    parts = [f"## `{suite.__name__}`", *paragraphs(suite)]
    parts += [
        f"All of `{base.__name__}`, and:"
        for base in suite.__bases__
        if base.__module__ == suite.__module__
    ]
    for heads, rows in ((("a subclass gives", "what it is"), given), (("test", "checks"), tests)):
        lines = [(f"`{name}`", paragraphs(getattr(suite, name))[0]) for name in rows]
        parts += [table(heads, lines).rstrip()] if lines else []
    return "\n\n".join(parts) + "\n"


def signature(function: Any) -> str:
    """Parameters and result of a function, as its code says them."""
    return str(inspect.signature(function)).replace("'", "")


def paragraphs(thing: Any) -> list[str]:
    """The docstring of anything as paragraphs of Markdown."""
    return [prose(part) for part in (inspect.getdoc(thing) or "").split("\n\n")]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(
        f"| {' | '.join(one.replace('|', chr(92) + '|') for one in line)} |\n" for line in lines
    )


def prose(text: str | None) -> str:
    """A docstring as one line of Markdown."""
    return re.sub(r"``([^`]+)``", r"`\1`", " ".join((text or "").split()))


if __name__ == "__main__":
    sys.exit(main())
