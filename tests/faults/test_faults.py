"""Some faults in short, at a fifth of the load: the rig, the client and the receiver work, and the promises hold."""

from dataclasses import replace
from pathlib import Path

import pytest

from faults.__main__ import DOCS, chosen, parser
from faults.chapters import CHAPTERS, PROCESSES
from faults.ledger import Kind, Result
from faults.registry import SCENARIOS
from faults.report import Results
from faults.rig import rig
from faults.scene import Pace, Played, play
from tests.support.postgres import EmbeddedPostgres, new_database

CHANGED = (Kind.CANCEL, Kind.REPLACE)
SHORT = Pace(calm=1.0, after=4.0, scale=0.2, on_the_minute=False)


def played(name: str, pace: Pace, server: EmbeddedPostgres, folder: Path) -> Played:
    [scenario] = [one for one in SCENARIOS if one.name == name]
    with new_database(server.url) as store, rig(server, store, folder, scenario.shape) as running:
        return play(running, scenario.act, pace, lambda _: None, lasts=scenario.lasts, slow=scenario.slow)


@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("name", "on_the_minute"),
    [
        pytest.param("kill_executor", True, id="kill_executor, with schedules"),
        pytest.param("kill_postgresql", False, id="kill_postgresql"),
    ],
)
def test_the_promises_hold(name: str, on_the_minute: bool, private_postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """But for how soon all fires again, which a busy machine decides (`test_kill` measures it)."""
    seen = played(name, replace(SHORT, on_the_minute=on_the_minute), private_postgres, tmp_path)
    verdict = seen.verdict
    assert [what for what in verdict.complaints if not what.startswith("silent")] == []
    assert verdict.callbacks > verdict.timers > 300
    came = {one.id.partition("-")[0] for one in seen.callbacks}
    assert came >= set(Kind) - {Kind.SLOW, Kind.SCHEDULE}
    assert not on_the_minute or Kind.SCHEDULE in came
    changes = {(one.kind, one.change.result) for one in seen.ledger.entries.values() if one.change is not None}
    assert changes >= {(kind, result) for kind in CHANGED for result in (Result.DONE, Result.REFUSED)}


def test_every_fault_has_a_name_of_its_own() -> None:
    names = [one.name for one in SCENARIOS]
    assert len(set(names)) == len(names)
    assert [one.name for one in chosen(parser().parse_args(["--only", "pause"]).only)] == ["pause"]
    assert len(chosen([])) == len(names)


def test_the_page_is_what_the_results_say() -> None:
    results = Results(DOCS / "faults", DOCS / "faults.md", PROCESSES, [])
    assert results.page.read_text() == results.text()
    assert all(
        (results.folder / f"{chapter.prefix}{name}.svg").exists()
        for chapter in CHAPTERS
        for name, one in results.read(chapter).items()
        if not {"skipped", "failed"} & one.keys()
    )
