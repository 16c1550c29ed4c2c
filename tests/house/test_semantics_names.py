"""What the pages of docs/ name must exist: tests, files, and functions beside a link to their module."""

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TEST = re.compile(r"tests/[\w/]+\.py(?:::\w+)+")
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]+)?\)")
NAME = re.compile(r"`([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)`")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT / "docs")))


@lru_cache
def names(module: Path) -> frozenset[str]:
    """What a module defines: `function`, `CONSTANT`, `Class`, `Class.method`; nothing where there is no module."""
    if not module.is_file():
        return frozenset()
    found: set[str] = set()

    def collect(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    found.add(prefix + node.name)
                case ast.ClassDef():
                    found.add(prefix + node.name)
                    collect(node.body, f"{prefix}{node.name}.")
                case ast.AnnAssign(target=ast.Name(id=name)):
                    found.add(prefix + name)
                case ast.Assign(targets=[ast.Name(id=name)]):
                    found.add(prefix + name)
                case _:
                    pass

    collect(ast.parse(module.read_text()).body, "")
    return frozenset(found)


@pages
def test_every_named_test_exists(page: Path) -> None:
    named = {tuple(reference.split("::")) for reference in TEST.findall(page.read_text())}
    missing = [
        "::".join(reference) for reference in sorted(named) if ".".join(reference[1:]) not in names(ROOT / reference[0])
    ]
    assert not missing


@pages
def test_every_link_leads_somewhere(page: Path) -> None:
    links = {target for _, target, _ in LINK.findall(page.read_text()) if "://" not in target}
    assert not [target for target in sorted(links) if not (page.parent / target).exists()]


@pages
def test_a_name_that_links_to_a_module_is_defined_there(page: Path) -> None:
    linked = [(name[1], target) for text, target, _ in LINK.findall(page.read_text()) if (name := NAME.fullmatch(text))]
    missing = [
        f"{name} in {target}"
        for name, target in linked
        if target.endswith(".py") and not name.endswith(".py") and name not in names((page.parent / target).resolve())
    ]
    assert not missing


def test_every_section_of_the_semantics_names_its_tests() -> None:
    text = (ROOT / "docs" / "semantics.md").read_text()
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert sections
    assert not [section.splitlines()[0] for section in sections if not TEST.search(section)]
