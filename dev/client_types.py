"""Write what both clients of the HTTP API know of it: operations and types, from ``/openapi.json``.

    python dev/client_types.py            write the files
    python dev/client_types.py --check    write nothing; exit code 1 = a file differs

``types.pyi`` declares for type checkers of Python what ``operations.json`` makes at run time;
``api.ts`` does both for TypeScript.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reference import openapi_document

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / "src" / "serendip" / "client"
TYPESCRIPT = ROOT / "clients" / "typescript" / "api.ts"
NOTE = "Written by `python dev/client_types.py`; change the code of the service, not this file."
WIDTH = 90
BY_BODY = "ByBody"

Schema = Mapping[str, Any]
WriteType = Callable[[Schema, Callable[[Schema], str]], str]


@dataclass(frozen=True)
class Operation:
    """One thing that the API does; of a GET and the POST with the same parameters the POST.

    Args:
        name: of the method of a client, in camel case.
        path: with the ids in braces.
        ids: names of what is in the path.
        rows: name of the list of rows in the body; empty = the body has parameters.
        params: model of the parameters, or that of a row; empty = none.
        query: parameters of a GET.
        answer: model of the answer.
    """

    name: str
    method: str
    path: str
    text: str
    ids: Sequence[str]
    rows: str
    params: str
    query: Mapping[str, Schema]
    answer: str

    @property
    def python_name(self) -> str:
        """Name of the method in Python."""
        return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", self.name)


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    """All operations but those whose answer is not JSON."""
    for path, methods in document["paths"].items():
        has_twin = any(one["operationId"].endswith(BY_BODY) for one in methods.values())
        for method, one in methods.items():
            answer = one["responses"]["200"]["content"].get("application/json")
            if answer is None or (has_twin and not one["operationId"].endswith(BY_BODY)):
                continue
            body = one.get("requestBody", {}).get("content", {}).get("application/json")
            rows, params = read_body(body["schema"], document) if body else ("", "")
            yield Operation(
                one["operationId"].removesuffix(BY_BODY),
                method.upper(),
                path,
                " ".join(one["description"].split()),
                re.findall(r"{(\w+)}", path),
                rows,
                params,
                {
                    given["name"]: given["schema"] | {"description": given["description"]}
                    for given in one.get("parameters", ())
                    if given["in"] == "query"
                },
                name_of(answer["schema"]),
            )


def read_body(schema: Schema, document: Mapping[str, Any]) -> tuple[str, str]:
    """Name of the rows of a body, or nothing; the model of a row or of the parameters."""
    if "anyOf" not in schema:
        return "", name_of(schema)
    batch = document["components"]["schemas"][name_of(schema["anyOf"][-1])]
    ((rows, listed),) = batch["properties"].items()
    return rows, name_of(listed["items"])


def name_of(schema: Schema) -> str:
    """Name of a model."""
    return str(schema["$ref"]).rpartition("/")[2]


def files() -> dict[Path, str]:
    """File -> what the service says now."""
    document = openapi_document()
    found, schemas = list(operations(document)), document["components"]["schemas"]
    table = {
        one.python_name: {
            "method": one.method,
            "path": one.path,
            "given": [*one.ids, *filter(None, [one.rows])],
            "rows": one.rows,
            "text": one.text,
        }
        for one in found
    }
    return {
        PYTHON / "operations.json": json.dumps(table, indent=1) + "\n",
        PYTHON / "types.pyi": "\n".join(python_lines(schemas, found)) + "\n",
        TYPESCRIPT: "\n".join(typescript_lines(schemas, found)) + "\n",
    }


def main() -> int:
    """Write or check the files."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    is_check = parser.parse_args().check
    changed = {path: text for path, text in files().items() if read(path) != text}
    for path, text in changed.items():
        if is_check:
            sys.stderr.write(f"{path} differs: run python dev/client_types.py\n")
        else:
            path.write_text(text, encoding="utf-8")
    return int(is_check and bool(changed))


def read(path: Path) -> str:
    """A file as it is; empty where there is none."""
    return path.read_text(encoding="utf-8") if path.exists() else ""


def python_lines(schemas: Mapping[str, Schema], found: Sequence[Operation]) -> Iterator[str]:
    """Bodies as TypedDicts, operations as the methods of two classes."""
    yield f"# {NOTE}\n"
    yield "from collections.abc import Mapping, Sequence"
    yield "from typing import Literal, NotRequired, TypedDict, Unpack"
    for name, schema in schemas.items():
        yield f"\nclass {name}(TypedDict):"
        yield from docstring(schema.get("description", ""), "    ")
        for field, inner in schema["properties"].items():
            kind = name_type(inner, python_type)
            is_required = field in schema.get("required", ())
            yield f"    {field}: {kind if is_required else f'NotRequired[{kind}]'}"
            yield from docstring(inner.get("description", ""), "    ")
    for name, keyword in (("Operations", "def"), ("AsyncOperations", "async def")):
        yield f"\nclass {name}:"
        yield '    """What the API does."""\n'
        for one in found:
            given = ["self", *(f"{id_name}: str" for id_name in one.ids)]
            if one.rows:
                given.append(f"{one.rows}: Sequence[{one.params}]")
            if one.ids or one.rows:
                given.append("/")
            if one.query:
                given.append("*")
            for field, schema in one.query.items():
                given.append(f"{field}: {name_type(schema, python_type)} = ...")
            if one.params and not one.rows:
                given.append(f"**params: Unpack[{one.params}]")
            yield f"    {keyword} {one.python_name}({', '.join(given)}) -> {one.answer}:"
            yield from docstring(one.text, "        ")


def docstring(text: str, indent: str) -> Iterator[str]:
    """What is said of a model, a field or a method, if anything is."""
    if lines := textwrap.wrap(text, WIDTH):
        yield textwrap.indent("\n".join(['"""' + lines[0], *lines[1:]]) + '"""', indent)


def python_type(schema: Schema, inner: Callable[[Schema], str]) -> str:
    """An annotation."""
    if "enum" in schema:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]"
    match schema["type"]:
        case "array":
            return f"Sequence[{inner(schema.get('items') or schema['prefixItems'][0])}]"
        case "object":
            return f"Mapping[str, {inner(schema['additionalProperties'])}]"
        case kind:
            names = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
            return names.get(kind, "None")


def typescript_lines(schemas: Mapping[str, Schema], found: Sequence[Operation]) -> Iterator[str]:
    """Bodies and the methods of a client as interfaces, and the table of the operations."""
    yield f"// {NOTE}"
    for name, schema in schemas.items():
        yield from ["", *comment(schema.get("description", ""), ""), f"export interface {name} {{"]
        for field, inner in schema["properties"].items():
            yield from comment(inner.get("description", ""), "  ")
            mark = "" if field in schema.get("required", ()) else "?"
            yield f"  {field}{mark}: {name_type(inner, typescript_type)};"
        yield "}"
    yield "\n/** What the API does. */\nexport interface Operations {"
    for one in found:
        given = [f"{id_name}: string" for id_name in one.ids]
        if one.rows:
            given.append(f"{one.rows}: Array<{one.params}>")
        elif one.params:
            is_needed = "required" in schemas[one.params]
            given.append(f"params{'' if is_needed else '?'}: {one.params}")
        elif one.query:
            fields = (
                f"{name}?: {name_type(kind, typescript_type)}" for name, kind in one.query.items()
            )
            given.append(f"params?: {{ {'; '.join(fields)} }}")
        yield from comment(one.text, "  ")
        yield f"  {one.name}({', '.join(given)}): Promise<{one.answer}>;"
    yield "}\n\n/** Method, path, and the name of the rows in the body, of each operation. */"
    yield "export const OPERATIONS: Record<keyof Operations, [string, string, string]> = {"
    for one in found:
        yield f"  {one.name}: {json.dumps([one.method, one.path, one.rows])},"
    yield "};"


def comment(text: str, indent: str) -> Iterator[str]:
    """What is said of a model, a field or a method, if anything is."""
    lines = textwrap.wrap(text.replace("*/", "* /"), WIDTH)
    if len(lines) == 1:
        yield f"{indent}/** {lines[0]} */"
    elif lines:
        yield from [f"{indent}/**", *(f"{indent} * {line}" for line in lines), f"{indent} */"]


def typescript_type(schema: Schema, inner: Callable[[Schema], str]) -> str:
    """A type."""
    if "enum" in schema:
        return " | ".join(map(json.dumps, schema["enum"]))
    match schema["type"]:
        case "array" if "prefixItems" in schema:
            return f"[{', '.join(map(inner, schema['prefixItems']))}]"
        case "array":
            return f"Array<{inner(schema['items'])}>"
        case "object":
            return f"Record<string, {inner(schema['additionalProperties'])}>"
        case kind:
            return "number" if kind == "integer" else str(kind)


def name_type(schema: Schema, write: WriteType) -> str:
    """The type of a schema, as a language writes it."""

    def inner(part: Schema) -> str:
        return name_type(part, write)

    if "$ref" in schema:
        return name_of(schema)
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(map(inner, schema["anyOf"])))
    return write(schema, inner)


if __name__ == "__main__":
    sys.exit(main())
