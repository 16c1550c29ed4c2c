"""The contract as one HTML page, rendered here: no script, nothing loaded from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from durable_timer_api.markdown import inline, render

Node = Mapping[str, Any]

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_STYLE: Final = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--link:#0b62c4}
@media(prefers-color-scheme:dark){:root{--link:#7ab7ff}}
body{margin:0;font:16px/1.5 system-ui,sans-serif;display:grid;grid-template-columns:19rem minmax(0,1fr)}
nav{position:sticky;top:0;height:100vh;overflow:auto;padding:1rem;border-right:1px solid var(--line);box-sizing:border-box}
nav ul{list-style:none;margin:0 0 1rem;padding:0}nav a{display:block;padding:.15rem 0}
main{padding:1rem 2rem 6rem;max-width:62rem}a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
section{border-top:1px solid var(--line);margin-top:2.5rem}h2{margin:1.5rem 0 .2rem}h4{margin:1.2rem 0 .3rem}
code,pre{font:.875em/1.45 ui-monospace,monospace}code{background:var(--soft);padding:.1em .3em;border-radius:.25em}
pre{background:var(--soft);padding:.8rem;overflow:auto;border-radius:.4em}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line)}
.path{font:1rem ui-monospace,monospace}.method{font-weight:700;text-transform:uppercase}.dim{opacity:.65}
summary{cursor:pointer}@media(max-width:60rem){body{display:block}nav{position:static;height:auto}}
"""


def render_page(document: Node) -> str:
    """The page of an OpenAPI 3.0 document whose references all point into itself."""
    return _Page(document).html()


class _Page:
    def __init__(self, document: Node) -> None:
        self._document = document
        self._schemas: Node = document["components"]["schemas"]

    def html(self) -> str:
        title = escape(self._document["info"]["title"])
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title} API</title>'
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
            f"<nav>{self._navigation()}</nav><main><h1>{title} API</h1>"
            f'<p><a href="api.yaml">api.yaml</a>, OpenAPI {self._document["openapi"]}</p>'
            f"{render(self._document['info']['description'])}"
            f"{''.join(self._operation(*found) for found in self._operations())}"
            f"<h1>Schemas</h1>{''.join(self._schema(name, schema) for name, schema in self._schemas.items())}"
            "</main></body></html>"
        )

    def _operations(self) -> Iterator[tuple[str, str, Node, Node]]:
        for path, item in self._document["paths"].items():
            for method in _METHODS:
                if method in item:
                    yield path, method, item[method], item

    def _navigation(self) -> str:
        parts = []
        for tag in self._document["tags"]:
            items = "".join(
                f'<li><a href="#{operation["operationId"]}">{escape(operation["summary"])}</a></li>'
                for _, _, operation, _ in self._operations()
                if tag["name"] in operation["tags"]
            )
            parts.append(f"<strong>{escape(tag['name'])}</strong><ul>{items}</ul>")
        schemas = "".join(f'<li><a href="#{name}">{name}</a></li>' for name in self._schemas)
        return f"{''.join(parts)}<strong>schemas</strong><ul>{schemas}</ul>"

    def _operation(self, path: str, method: str, operation: Node, item: Node) -> str:
        parameters = [
            self._resolved(parameter) for parameter in (*item.get("parameters", ()), *operation.get("parameters", ()))
        ]
        body = self._resolved(operation.get("requestBody", {})).get("content", {})
        responses = "".join(self._response(status, found) for status, found in operation["responses"].items())
        return (
            f'<section id="{operation["operationId"]}"><h2>{escape(operation["summary"])}</h2>'
            f'<p class="path"><span class="method">{method}</span> {escape(path)}'
            f' <span class="dim">{operation["operationId"]}</span></p>'
            f"{render(operation.get('description', ''))}"
            f"{_parameters(parameters)}"
            f"{'<h4>Request body</h4>' + self._media(body) if body else ''}"
            f"<h4>Responses</h4>{responses}</section>"
        )

    def _response(self, status: str, found: Node) -> str:
        response = self._resolved(found)
        headers = ", ".join(f"<code>{name}</code>" for name in response.get("headers", {}))
        return (
            f"<details><summary><code>{status}</code> {inline(response['description'])}</summary>"
            f"{f'<p>Headers: {headers}</p>' if headers else ''}{self._media(response.get('content', {}))}</details>"
        )

    def _media(self, content: Node) -> str:
        parts = []
        for media_type, media in content.items():
            parts.append(f"<p><code>{media_type}</code> {self._type(media['schema'])}</p>")
            for name, found in media.get("examples", {}).items():
                example = self._resolved(found)
                value = example["value"]
                text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
                parts.append(
                    f"<details><summary>Example: {escape(example.get('summary', name))}</summary>"
                    f"<pre>{escape(text, quote=False)}</pre></details>"
                )
        return "".join(parts)

    def _schema(self, name: str, schema: Node) -> str:
        rows = "".join(
            f"<tr><td><code>{field}</code>{' <strong>*</strong>' if field in schema.get('required', ()) else ''}</td>"
            f"<td>{self._type(found)}</td><td>{inline(found.get('description', ''))}</td></tr>"
            for field, found in schema.get("properties", {}).items()
        )
        table = f"<table><tr><th>field</th><th>type</th><th></th></tr>{rows}</table>" if rows else ""
        return (
            f'<section id="{name}"><h2>{name}</h2><p>{self._type(schema)}</p>'
            f"{render(schema.get('description', ''))}{table}</section>"
        )

    def _type(self, schema: Node) -> str:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return f'<a href="#{name}">{name}</a>'
        null = " or null" if schema.get("nullable") else ""
        for joint in ("allOf", "oneOf"):
            if joint in schema and "properties" not in schema:
                return " or ".join(self._type(branch) for branch in schema[joint]) + null
        if schema.get("type") == "array":
            return f"array of {self._type(schema['items'])}{_bounds(schema)}{null}"
        if "enum" in schema:
            words = ", ".join(f"<code>{word}</code>" for word in schema["enum"] if word is not None)
            return f"one of {words}{null}"
        fields = schema.get("properties", {}) if "description" not in schema else {}
        inside = f" with {', '.join(f'<code>{field}</code>' for field in fields)}" if fields else ""
        return f"{schema.get('type', 'any JSON')}{inside}{_bounds(schema)}{null}"

    def _resolved(self, node: Node) -> Node:
        if "$ref" not in node:
            return node
        target: Any = self._document
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        found: Node = target
        return found


def _parameters(parameters: list[Node]) -> str:
    rows = "".join(
        f"<tr><td><code>{parameter['name']}</code>{' <strong>*</strong>' if parameter.get('required') else ''}</td>"
        f"<td>{parameter['in']}</td><td>{inline(parameter['description'])}{_default(parameter['schema'])}</td></tr>"
        for parameter in parameters
    )
    return f"<h4>Parameters</h4><table>{rows}</table>" if rows else ""


def _default(schema: Node) -> str:
    words = f" One of {', '.join(f'<code>{word}</code>' for word in schema['enum'])}." if "enum" in schema else ""
    default = f" <code>{schema['default']}</code> by default." if "default" in schema else ""
    return f"<span class=dim>{words}{default}{_bounds(schema)}</span>"


def _bounds(schema: Node) -> str:
    names = {
        "format": "{}", "minimum": "from {}", "maximum": "to {}", "maxLength": "up to {} characters",
        "maxItems": "up to {} items", "maxProperties": "up to {} entries",
    }  # fmt: skip
    found = ", ".join(text.format(schema[name]) for name, text in names.items() if name in schema)
    return f" <span class=dim>({escape(found)})</span>" if found else ""
