"""The rendered contract: well-formed, complete, and of nothing but itself."""

import re
from html.parser import HTMLParser

import pytest

from durable_timer_api.contract import docs_page
from durable_timer_api.markdown import inline, render
from tests.api.test_contract import SCHEMAS, operations

VOID = {"meta", "br"}


class Outline(HTMLParser):
    """The elements left open, the ids, and where links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in attrs if name == "href" and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def outline() -> Outline:
    outline = Outline()
    outline.feed(docs_page())
    return outline


def test_every_element_is_closed_and_every_link_leads_somewhere(outline: Outline) -> None:
    assert outline.open == []
    assert len(set(outline.ids)) == len(outline.ids)
    assert {link for link in outline.links if link.startswith("#")} <= {f"#{name}" for name in outline.ids}
    assert {link for link in outline.links if not link.startswith("#")} == {"api.yaml"}


def test_every_operation_and_schema_has_its_place(outline: Outline) -> None:
    assert set(outline.ids) == {operation["operationId"] for _, _, operation in operations()} | SCHEMAS.keys()


def test_nothing_is_loaded(outline: Outline) -> None:
    assert not outline.tags & {"script", "link", "img", "iframe", "object"}
    assert not re.search(r"url\(|@import", docs_page())


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a `b<c` **d** *e* <f>", "a <code>b&lt;c</code> <strong>d</strong> <em>e</em> &lt;f&gt;"),
        ("`**` stays", "<code>**</code> stays"),
    ],
)
def test_words(text: str, html: str) -> None:
    assert inline(text) == html


def test_blocks() -> None:
    text = "one\ntwo\n\n## Head\n- a\n  b\n- c\n\n| x | y |\n|---|---|\n| 1 | `2` |\n\n```\ncurl <x>\n\n- no list\n```\nend"
    assert render(text) == (
        "<p>one\ntwo</p><h3>Head</h3><ul><li>a\n  b</li><li>c</li></ul>"
        "<table><tr><th>x</th><th>y</th></tr><tr><td>1</td><td><code>2</code></td></tr></table>"
        "<pre>curl &lt;x&gt;\n\n- no list\n</pre><p>end</p>"
    )
