"""The benchmark still measures: each measure runs at a tiny size, and finds what it is about."""

import math
import operator
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import orjson
import pytest

from bench import __main__ as command
from bench import bounds, report, timers, tools, yardstick
from bench.charts import Bars, Lines, svg
from bench.cluster import GroupShape, Shape
from bench.lab import Kind, Lab, Outcome
from bench.measures import costs, creating
from bench.registry import MEASURES, SUITES, Measure
from bench.sizes import Sizes
from bench.tracks import Tracks

TINY = replace(
    Sizes().scaled(0.001),
    lead=0.1,
    steady_seconds=0.1,
    long_seconds=0.2,
    soak_seconds=1.0,
    slow_seconds=0.2,
    purge_within=0.0,
    idle_groups=2,
    idle_seconds=0.2,
    rate=200,
    create_rate=100,
    many=200,
    most=200,
    dead=20,
    slow=5,
)

ON_POSTGRESQL = ("held_open", "soak")
ELSEWHERE = (*ON_POSTGRESQL, "executors", "costs", "pending_most")
"""Not run on SQLite: what needs a server, what starts many clusters, and one that is another with more rows."""

NAME = operator.attrgetter("name")

WRK = """\
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     3.01ms  641.98us  16.11ms   86.65%
  Latency Distribution
     50%    2.90ms
     75%    3.20ms
     99%    5.30ms
  119500 requests in 8.00s, 40.1MB read
  Non-2xx or 3xx responses: 7
Requests/sec:  14937.50
"""

OHA = """\
  Requests/sec: 12345.6
  50.00% in 0.0030 sec
  99.00% in 0.0053 sec
Status code distribution:
  [201] 98000 responses
  [503] 2 responses
"""


@pytest.fixture(scope="module")
def sqlite_lab() -> Iterator[Lab]:
    with Lab(Kind.SQLITE, TINY, lambda _: None, thrifty=True) as lab:
        yield lab


@pytest.fixture(scope="module")
def postgresql_lab(postgres_server: str) -> Iterator[Lab]:
    with Lab(Kind.POSTGRESQL, TINY, lambda _: None, server=postgres_server, thrifty=True) as lab:
        yield lab


def check(measure: Measure, outcome: Outcome) -> None:
    if measure.name != "soak":
        assert bounds.judged(measure.name, outcome, TINY, Kind.POSTGRESQL).missed == ()
    figures = outcome.figures
    assert figures
    assert set(bounds.bounds(measure.name, TINY, Kind.POSTGRESQL)) - {"cpu_ratio"} <= set(figures)
    for name, value in figures.items():
        assert isinstance(value, str) or (math.isfinite(value) and value >= (-100 if "change" in name else 0)), name
        if name.rpartition("/")[2] in {"lost", "early", "left", "request_refused", "creates_refused"}:
            assert value == 0, (measure.name, name)
    ET.fromstring(svg(outcome.charts))  # noqa: S314 - our own
    assert list(report.table(figures))


@pytest.mark.parametrize("measure", [found for found in MEASURES if found.name not in ELSEWHERE], ids=NAME)
def test_measure_on_sqlite(measure: Measure, sqlite_lab: Lab) -> None:
    check(measure, measure.run(sqlite_lab))


@pytest.mark.postgresql
@pytest.mark.parametrize("measure", [found for found in MEASURES if found.name in ON_POSTGRESQL], ids=NAME)
def test_measure_on_postgresql(measure: Measure, postgresql_lab: Lab) -> None:
    outcome = measure.run(postgresql_lab)
    check(measure, outcome)
    assert any("database" in figure for figure in outcome.figures)


def test_all_switches_at_once(sqlite_lab: Lab) -> None:
    shape = Shape(groups=(GroupShape(signing=True),), settings=(("log.level", "error"),), tracing=True, silent=True)
    figures = costs.variant(sqlite_lab, shape)
    assert float(figures["burst_per_second"]) > 0
    assert set(costs.VARIANTS) > {costs.AS_SHIPPED}


def test_every_measure_is_of_a_suite_and_has_words() -> None:
    names = [measure.name for measure in MEASURES]
    assert len(set(names)) == len(names)
    assert {measure.suite for measure in MEASURES} == set(SUITES)
    assert len(command.listed().splitlines()) == len(names)
    assert [found.name for found in command.chosen("bench", ["idle"], Kind.SQLITE)] == ["idle"]
    assert "executors" not in [found.name for found in command.chosen("growth", [], Kind.SQLITE)]


def test_a_measure_that_fails_is_reported_and_keeps_none_from_running(tmp_path: Path) -> None:
    def fails(_: Lab) -> Outcome:
        raise RuntimeError("no")

    def works(_: Lab) -> Outcome:
        return Outcome({"one": 1, "a/two": 2, "b/two": 3.5}, (Bars("Bars", "s", {"a": 1, "b": 0}),))

    said: list[str] = []
    lab = Lab(Kind.SQLITE, TINY, said.append)
    found = report.new(tmp_path / "results", "bench", lab, 0.5)
    measures = [Measure("fails", "bench", "", fails), Measure("works", "bench", "", works)]
    assert not command.measure_all(lab, measures, found)
    saved = orjson.loads(found.json.read_bytes())
    assert saved["measures"] == {"fails": {"error": "RuntimeError: no"}, "works": {"one": 1, "a/two": 2, "b/two": 3.5}}
    assert (saved["store"], saved["scale"]) == ("sqlite", 0.5)
    assert saved["machine"]["cores"] >= 1
    assert "works: Bars" in found.svg.read_text()
    assert any(line.split() == ["two", "2", "3.5"] for line in said)


def test_a_measure_that_misses_its_own_aim_is_told_and_saved(tmp_path: Path) -> None:
    said: list[str] = []
    lab = Lab(Kind.SQLITE, TINY, said.append)
    found = report.new(tmp_path, "bench", lab, 1)
    misses = Measure(
        "misses", "bench", "", lambda _: Outcome({"lost": 1}, (Lines("l", "s", "", {"a": [(0, 1)]}),), ("grown: 1",))
    )
    assert not command.measure_all(lab, [misses], found)
    assert orjson.loads(found.json.read_bytes())["missed"] == ["misses: lost: 1", "misses: grown: 1"]
    assert orjson.loads(found.series.read_bytes()) == {"misses: l": {"a": [[0, 1]]}}
    assert "  MISSED lost: 1" in said
    assert "  MISSED grown: 1" in said


def test_the_receiver_tells_what_is_late_early_and_twice() -> None:
    tracks = Tracks()
    for number, late in enumerate([0.001, 0.002, -0.5]):
        tracks.add(1000.0 + number + late, callback("a", number, 1000 + number))
    tracks.add(1003.0, callback("a", 1, 1001))
    tracks.add(1000.0, callback("b-c", 0, 1000))
    summary = tracks.get("a").summary()
    assert (summary["callbacks"], summary["duplicates"], summary["early"]) == (4, 1, 1)
    assert summary["late_max_ms"] == pytest.approx(2000)
    assert [count for _, count, _, _ in tracks.get("a").series(1.0)] == [1, 2, 0, 1]
    assert len(tracks.get("b-c")) == 1
    assert tracks.get("none").summary() == {"callbacks": 0}


def callback(track: str, number: int, due: int) -> bytes:
    at = f"1970-01-01T00:{due // 60:02}:{due % 60:02}.000000Z"
    return orjson.dumps({"groupId": "g", "timerId": f"{track}-{number}", "executeAt": at, "attempt": 1})


def test_charts_hold_points_of_one_value_and_none() -> None:
    drawn = svg(
        [Bars("none", "s", {}), Bars("zero", "s", {"a <b>": 0.0}), Lines("one", "s", "ms", {"p99": [(1.0, 2.0)]})]
    )
    titles = [text.text for text in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314 - our own
    assert {"zero", "one"} <= set(titles)
    assert "none" not in titles


@pytest.mark.parametrize(("output", "requests", "refused", "p99"), [(WRK, 119500, 7, 5.3), (OHA, 98002, 2, 5.3)])
def test_what_other_generators_print_is_understood(output: str, requests: int, refused: int, p99: float) -> None:
    load = tools.understood(output)
    assert (load.requests, load.refused, load.p99_ms) == (requests, refused, p99)
    assert load.per_second > 10_000


def test_an_output_without_figures_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="missing"):
        tools.understood("nothing")


LIMITS = """\
fires, burst
bulk inserts 110000/s
callbacks 20000, duplicates 0, early 0, 16400/s since the first was due, late ms p50 500.1 p99 900.0 max 910.2
fires, steady
bulk inserts 100000/s
callbacks 20000, duplicates 0, early 0, 1000/s since the first was due, late ms p50 2.3 p99 4.1 max 7.6
single creates over REST, 48 connections
Requests/sec:  15000.00
"""


CLEAN = {"lost": 0, "early": 0, "duplicates": 0, "expected": 20_000}
WHOLE = {
    "creates_single": {"creates_per_second": 10_500.0, "missing": 0, "request_refused": 0},
    "creates_batch": {"creates_per_second": 44_000.0, "missing": 0, "request_refused": 0},
    "cancels": {"cancels_per_second": 10_000.0, "left": 0, "request_refused": 0},
    "burst": {"per_second": 12_300.0, **CLEAN},
    "steady": {"late_p99_ms": 10.1, **CLEAN},
    "kill": {"firing_again_after_s": 3.0, "lost": 0, "early": 0, "duplicates": 5},
}
"""Just good enough, against `LIMITS`."""

Measures = dict[str, dict[str, float]]


def of_bursts(*rates: float) -> list[Measures]:
    """A whole result, and more bursts."""
    bursts: list[Measures] = [{"burst": {**WHOLE["burst"], "per_second": rate}} for rate in rates]
    return [{**WHOLE, **bursts[0]}, *bursts[1:]]


def held(folder: Path, results: Sequence[Mapping[str, object]], **head: object) -> int:
    """What the command ends with."""
    limits, names = folder / "limits.txt", []
    limits.write_text(LIMITS)
    for number, measures in enumerate(results):
        path = folder / f"{number}.json"
        about = {"store": "postgresql", "scale": 1.0, "date": f"{number}", "versions": {"commit": "abc"}, **head}
        path.write_bytes(orjson.dumps({**about, "measures": measures}))
        names += [str(limits), str(path)]
    return yardstick.main(names)


def missed_of(output: str) -> list[str]:
    return [line.split("  ")[0] for line in output.splitlines() if "MISSED" in line]


def test_a_result_that_is_good_enough_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert held(tmp_path, [WHOLE]) == 0
    told = capsys.readouterr().out
    assert "0.json: commit abc, against burst 16,400/s, steady p99 4.1 ms, creates 15,000/s, inserts 110,000/s" in told
    assert missed_of(told) == []
    with pytest.raises(ValueError, match="lacks"):
        yardstick.read_yardstick("nothing")


@pytest.mark.parametrize(
    ("measure", "changed", "line"),
    [
        ("burst", {"per_second": 12_299.0}, "burst, of the yardstick's"),
        ("burst", {"duplicates": 1}, "duplicates in the burst load"),
        ("burst", {"expected": 1_000}, "timers in the burst load"),
        ("steady", {"late_p99_ms": 10.2}, "1,000/s, p99 beyond the yardstick's, ms"),
        ("creates_batch", {"missing": 1}, "missing in creates_batch"),
        ("creates_single", {"request_refused": 1}, "refused in creates_single"),
        ("cancels", {"left": 1}, "left in cancels"),
        ("kill", {"firing_again_after_s": 3.1}, "firing again after kill -9, s"),
    ],
)
def test_each_aim_can_be_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], measure: str, changed: dict[str, float], line: str
) -> None:
    assert held(tmp_path, [{**WHOLE, measure: {**WHOLE[measure], **changed}}]) == 1
    assert missed_of(capsys.readouterr().out) == [line]


@pytest.mark.parametrize("measure", WHOLE)
def test_what_is_absent_is_missed(tmp_path: Path, capsys: pytest.CaptureFixture[str], measure: str) -> None:
    for measures in ({**WHOLE, measure: {"error": "no"}}, {name: WHOLE[name] for name in WHOLE if name != measure}):
        assert held(tmp_path, [measures]) == 1
        told = capsys.readouterr().out
        assert len(missed_of(told)) == sum(aim.measure == measure for aim in yardstick.AIMS) == told.count("absent")


def test_of_several_pairs_the_median_of_the_bursts_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert held(tmp_path, of_bursts(12_000, 14_000, 13_000)) == 0
    assert "(0.732, 0.854, 0.793)" in capsys.readouterr().out
    assert held(tmp_path, of_bursts(12_000, 16_000, 12_100)) == 1
    assert missed_of(capsys.readouterr().out) == ["burst, of the yardstick's"]
    lossy = of_bursts(13_000, 13_000, 13_000)
    lossy[2]["burst"]["lost"] = 1
    assert held(tmp_path, lossy) == 1
    assert missed_of(capsys.readouterr().out) == ["lost in the burst load"]
    assert held(tmp_path, [*of_bursts(13_000, 13_000), {}]) == 1


@pytest.mark.parametrize(
    ("head", "results", "words"),
    [
        ({"scale": 0.05}, 1, "full size"),
        ({"store": "sqlite"}, 1, "PostgreSQL"),
        ({"date": "now"}, 3, "twice"),
        ({}, 2, "3 at least"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], head: dict[str, object], results: int, words: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        held(tmp_path, [WHOLE] * results, **head)
    assert words in capsys.readouterr().err


def test_the_rule_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        yardstick.main(["--help"])
    assert "the median of their ratios counts" in capsys.readouterr().out


def test_creates_and_cancels_count_rows_and_not_answers(sqlite_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer is refused within an answer of 200, and nothing that is to be cancelled is there."""
    whole, ids = timers.create_batches, timers.cancels

    def partly(track: str, dues: Sequence[datetime], url: str) -> list[bytes]:
        requests = whole(track, dues, url)
        spoilt = [request.replace(b'"executeAt":"2', b'"executeAt":"x', 1) for request in requests]
        assert spoilt != requests
        return spoilt

    monkeypatch.setattr(timers, "create_batches", partly)
    made = creating.batches(sqlite_lab).figures
    monkeypatch.setattr(timers, "create_batches", whole)
    monkeypatch.setattr(timers, "cancels", lambda track, count: ids(f"{track}x", count))
    gone = creating.cancels(sqlite_lab).figures
    assert (made["request_refused"], made["missing"]) == (0, 1)
    assert (gone["request_refused"], gone["left"], gone["cancels_per_second"]) == (0, TINY.cancelled, 0)
