"""Faults in turn: what cannot be found takes the place of what was found earlier."""

from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from faults.chapters import PROCESSES
from faults.checks import Fault, judge
from faults.disk import NotHere
from faults.ledger import Callback, Ledger
from faults.report import Results
from faults.running import in_short, run_all
from faults.scene import Played, Say


@dataclass(frozen=True)
class Named:
    name: str
    about: str


def good(_: Named, __: Say) -> Played:
    fault = Fault(begun=0.0, ended=1.0)
    callbacks: list[Callback] = []
    return Played(fault, Ledger(), callbacks, judge(Ledger(), callbacks, fault, 2.0), 0)


def broken(_: Named, __: Say) -> Played:
    raise RuntimeError("/a/b.c/executor-1 ended with 1:\nmuch more")


def missing(_: Named, __: Say) -> Played:
    raise NotHere("no disk")


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "faults", tmp_path / "faults.md", PROCESSES, ["one", "two"])


def test_a_fault_that_failed_to_happen_takes_the_place_of_what_was_found_earlier(results: Results) -> None:
    one, two = Named("one", "a fault"), Named("two", "another")
    assert run_all([one, two], good, results)
    assert "(faults/one.svg)" in results.page.read_text()
    assert not run_all([one], broken, results)
    page = results.page.read_text()
    assert "**failed**: RuntimeError: executor-1 ended with 1 |" in page
    assert "much more" not in page
    assert "(faults/one.svg)" not in page
    assert not (results.folder / "one.svg").exists()
    assert "(faults/two.svg)" in page
    assert run_all([one], missing, results)
    assert "skipped: no disk" in results.page.read_text()
    assert "**failed**" not in results.page.read_text()


def test_each_row_says_the_commit_it_was_found_with(results: Results) -> None:
    run_all([Named("one", "a fault"), Named("two", "another")], good, results)
    file = results.folder / "results.json"
    found = orjson.loads(file.read_bytes())
    found["one"]["versions"]["commit"] = "earlier"
    file.write_bytes(orjson.dumps(found))
    assert "| a fault | earlier | 0 |" in results.text()
    assert f"| another | {found['two']['versions']['commit']} | 0 |" in results.text()


def test_an_error_is_told_in_one_line_without_this_machines_folders() -> None:
    error = TimeoutError("['/one/two/durable-timer', 'executor'] ended; see http://127.0.0.1:80/a/b\nand more")
    assert in_short(error) == "TimeoutError: ['durable-timer', 'executor'] ended; see http://127.0.0.1:80/a/b"
    assert in_short(ValueError()) == "ValueError"
