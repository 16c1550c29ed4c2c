"""The little of Markdown that api.yaml's descriptions use, as HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from itertools import groupby
from typing import Final

_CODE: Final = re.compile(r"`([^`]+)`")
_STRONG: Final = re.compile(r"\*\*([^*]+)\*\*")
_EMPHASIS: Final = re.compile(r"\*([^*]+)\*")
_RULE: Final = re.compile(r"\|[-| ]+\|")


def render(text: str) -> str:
    """Paragraphs, `##` headings, `-` lists, tables and fenced code; inside them code, strong and emphasis."""
    return "".join(_blocks(text))


def inline(text: str) -> str:
    """One line's code, strong and emphasis; everything else escaped."""
    parts = _CODE.split(text)
    return "".join(f"<code>{escape(part)}</code>" if index % 2 else _worded(part) for index, part in enumerate(parts))


def _worded(text: str) -> str:
    return _EMPHASIS.sub(r"<em>\1</em>", _STRONG.sub(r"<strong>\1</strong>", escape(text, quote=False)))


def _blocks(text: str) -> Iterator[str]:
    fenced = re.split(r"^```\n?", text, flags=re.MULTILINE)
    for index, part in enumerate(fenced):
        if index % 2:
            yield f"<pre>{escape(part, quote=False)}</pre>"
            continue
        for block in re.split(r"\n{2,}", part.strip("\n")):
            for kind, lines in groupby(block.splitlines(), key=_kind):
                yield _block(kind, list(lines))


def _kind(line: str) -> str:
    if line.startswith("## "):
        return "heading"
    if line.startswith("|"):
        return "table"
    return "list" if line.startswith(("- ", "  ")) else "text"


def _block(kind: str, lines: list[str]) -> str:
    match kind:
        case "heading":
            return "".join(f"<h3>{inline(line[3:])}</h3>" for line in lines)
        case "table":
            return _table(lines)
        case "list":
            items = re.split(r"(?:^|\n)- ", "\n".join(lines))[1:]
            return f"<ul>{''.join(f'<li>{inline(item)}</li>' for item in items)}</ul>"
        case _:
            joined = "\n".join(lines).strip()
            return f"<p>{inline(joined)}</p>" if joined else ""


def _table(lines: list[str]) -> str:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not _RULE.fullmatch(line)]
    head = "".join(f"<th>{inline(cell)}</th>" for cell in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{inline(cell)}</td>' for cell in row)}</tr>" for row in rows[1:])
    return f"<table><tr>{head}</tr>{body}</table>"
