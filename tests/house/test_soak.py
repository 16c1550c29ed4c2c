"""The soak judges rightly: its rule finds planted growth and nothing else, and its client loses nothing to a dead bridge."""

import http.server
import math
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from bench import processes
from bench.charts import Lines, svg
from bench.feed import Feed
from bench.kills import Gap, Kill, kill_times
from bench.measures.soak import missed
from bench.sizes import Sizes
from bench.tracks import Tracks
from bench.trends import Allowance, Peak, Point, Trend, peak, trend

RUN = 1800.0
WARM_UP = 60.0
ALLOWANCE = Allowance(0.05, 2.0)


def life(value: Callable[[float], float], begin: float = 0.0, end: float = RUN) -> list[Point]:
    """A sample every two seconds."""
    return [(float(at), value(at)) for at in range(int(begin), int(end), 2)]


def judged(*lives: list[Point]) -> Trend:
    return trend(lives, RUN, WARM_UP, ALLOWANCE)


def sawtooth(at: float, period: float = 60.0) -> float:
    return (at % period) / period


NOISE = random.Random(7)

FLAT = {
    "constant": [life(lambda at: 100.0)],
    "noise": [life(lambda at: 100.0 + NOISE.uniform(-10, 10))],
    "sawtooth": [life(lambda at: 50.0 + 100 * sawtooth(at))],
    "slow_sawtooth": [life(lambda at: 50.0 + 20 * sawtooth(at, 173.0))],
    "falls": [life(lambda at: 100.0 - 0.02 * at)],
    "grows_in_the_first_half_alone": [life(lambda at: min(at, 800.0))],
    "spikes": [life(lambda at: 1000.0 if at % 60 < 6 else 100.0)],
    "a_late_spike": [life(lambda at: 5000.0 if at > 1700 else 100.0)],
    "warms_up_after_each_restart": [
        life(lambda at, begin=begin: 100.0 - 60 * math.exp(-(at - begin) / 12), begin, begin + 240)  # type: ignore[misc]
        for begin in range(0, 1800, 240)
    ],
}

GROWING = {
    "a_leak": [life(lambda at: 100.0 + 0.01 * at)],
    "a_leak_under_noise": [life(lambda at: 100.0 + 0.01 * at + NOISE.uniform(-5, 5))],
    "a_leak_under_a_sawtooth": [life(lambda at: 100.0 + 0.04 * at + 50 * sawtooth(at))],
    "a_leak_in_steps": [life(lambda at: 100.0 + 5 * (at // 200))],
    "a_leak_that_each_restart_ends": [
        life(lambda at, begin=begin: 100.0 + 0.02 * (at - begin), begin, begin + 240)  # type: ignore[misc]
        for begin in range(0, 1800, 240)
    ],
    "one_descriptor_each_minute": [life(lambda at: 20.0 + at // 60)],
    "a_leak_that_accelerates": [life(lambda at: 100.0 + (at / 200) ** 2)],
}


@pytest.mark.parametrize("lives", FLAT.values(), ids=FLAT)
def test_what_stays_is_not_called_growth(lives: list[list[Point]]) -> None:
    found = judged(*lives)
    assert found.growth is not None
    assert not found.grows, found


@pytest.mark.parametrize("lives", GROWING.values(), ids=GROWING)
def test_planted_growth_is_found(lives: list[list[Point]]) -> None:
    assert judged(*lives).grows


def test_growth_is_that_of_the_second_half_in_the_unit_of_the_series() -> None:
    found = judged(life(lambda at: 100.0 + 0.01 * at))
    assert found.growth == pytest.approx(9.0)
    assert found.level == pytest.approx(113.5, abs=0.1)
    assert found.allowed == pytest.approx(found.level * 0.05)


def test_a_swing_hides_growth_smaller_than_its_half_alone() -> None:
    assert not judged(life(lambda at: 100.0 + 0.01 * at + 100 * sawtooth(at))).grows
    assert judged(life(lambda at: 100.0 + 0.07 * at + 100 * sawtooth(at))).grows


def test_a_series_that_needs_long_is_not_judged_by_less() -> None:
    grows = [life(float)]
    assert trend(grows, RUN, WARM_UP, replace(ALLOWANCE, seconds=800.0)).grows
    assert trend(grows, RUN, WARM_UP, replace(ALLOWANCE, seconds=900.0)).growth is None


@pytest.mark.parametrize("lives", [[], [[]], [life(lambda at: at, 1700, 1760)], [life(lambda at: at, 0, 900)]])
def test_too_little_is_not_judged(lives: list[list[Point]]) -> None:
    found = judged(*lives)
    assert found.growth is None
    assert not found.grows


def test_kills_leave_time_and_a_short_run_has_some() -> None:
    assert kill_times(Sizes()) == [60.0 * number for number in range(1, 30)]
    assert len(kill_times(replace(Sizes(), soak_seconds=1.0))) == 2


def test_repeats_are_told_with_their_time() -> None:
    tracks = Tracks()
    for at, number in [(1.0, 0), (2.0, 1), (3.0, 0), (4.0, 0), (5.0, 2)]:
        body = {"groupId": "g", "timerId": f"a-{number}", "executeAt": "1970-01-01T00:00:01.000000Z"}
        tracks.add(at, orjson.dumps(body))
    assert tracks.get("a").repeats() == [(3.0, 0), (4.0, 0)]
    assert tracks.get("a").arrivals(2.0, 4.0) == [(2.0, 1), (3.0, 0)]


def test_marks_dots_and_logarithmic_axes_are_drawn() -> None:
    late = [(float(at), 1.0 + at % 7 * 100) for at in range(5000)]
    chart = Lines(
        "late", "s", "ms", {"p99": late, "zero": [(0.0, 0.0), (1.0, 0.0)]}, "kill -9", (3.0,), logarithmic=True
    )
    drawn = svg([chart, replace(chart, dots=True, lines={"a": [(1.0, 1.0)]})], "a heading")
    assert "kill -9" in drawn
    assert "a heading" in drawn
    assert len(drawn) < 50_000


def test_a_pool_may_fill_and_not_overflow() -> None:
    fills = [life(lambda at: min(11.0, at)), []]
    assert not peak(fills, 11.0).grows
    assert not peak([*fills, [(5.0, 12.0)]], 11.0).grows
    assert peak([*fills, [(5.0, 1.0), (7.0, 12.0)]], 11.0).grows
    assert not peak([], 11.0).grows


def test_what_must_not_be_is_told_each() -> None:
    good = Trend(100.0, 1.0, 5.0)
    kill = Kill(0.0, "executor-1", frozenset({1}), frozenset())
    figures: dict[str, float | int | str] = {"lost": 0, "early": 0, "duplicates_unexplained": 0, "duplicates": 7}
    assert not missed(figures, [Gap(kill, 2.1, 2.0, 0)], {"a": good, "unseen": replace(good, growth=None)})
    bad = {"lost": 1, "early": 2, "duplicates_unexplained": 3}
    told = missed(
        {**figures, **bad},
        [Gap(kill, 3.2, 3.1, 0)],
        {"leak": replace(good, growth=6.0), "a": good, "pool": Peak(12.0, 11.0)},
    )
    assert [words.split(":")[0] for words in told] == [*bad, "executor-1 killed", "growth of leak", "growth of pool"]
    [blind] = missed(figures, [Gap(replace(kill, shards=frozenset()), 0.1, 0.1, 0)], {})
    assert "owned no shard" in blind


def test_a_process_is_seen_to_hold_what_it_holds() -> None:
    before = processes.use(os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as connection, Path(os.devnull).open():
            inode = os.fstat(connection.fileno()).st_ino
            held = processes.use(os.getpid())
            to_server = processes.sockets_to(f"http://127.0.0.1:{port}")
    assert before is not None
    assert held is not None
    assert held.descriptors == before.descriptors + 3
    assert held.sockets & to_server == {inode}
    assert held.memory_mib > 1
    assert held.threads >= 1


def test_a_process_that_is_gone_uses_nothing() -> None:
    assert processes.use(2**22 + 1) is None


class Bridge(http.server.BaseHTTPRequestHandler):
    """Answers 503, then hangs up, then does as asked; again and again."""

    protocol_version = "HTTP/1.1"
    turn = 0
    status = 201
    made: list[str]

    def do_POST(self) -> None:
        body = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
        kind = type(self)
        kind.turn += 1
        if kind.turn % 3 == 1:
            self._say(503, {})
        elif kind.turn % 3 == 2:
            self.close_connection = True
        else:
            asked = body.get("timers", [body])
            kind.made += [timer["id"] for timer in asked]
            results = [{"status": kind.status} for _ in asked]
            self._say(200 if "timers" in body else kind.status, {"results": results})

    def log_message(self, *_: object) -> None: ...

    def _say(self, status: int, body: Mapping[str, object]) -> None:
        said = orjson.dumps(body)
        self.send_response(status)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)


@pytest.fixture
def bridge() -> Iterator[tuple[type[Bridge], str]]:
    kind = type("Flaky", (Bridge,), {"made": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield kind, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_client_asks_until_each_timer_is_acknowledged(bridge: tuple[type[Bridge], str]) -> None:
    kind, url = bridge
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        feed = Feed([url, f"http://127.0.0.1:{unused.getsockname()[1]}"], "http://target", "t")
        feed.put(0, [datetime.now(UTC)] * 30)
        feed.close()
    assert feed.acknowledged == 30
    assert feed.repeated > 2
    assert sorted(kind.made) == sorted(f"t-{number}" for number in range(30))


def test_the_client_does_not_take_a_refusal_for_an_acknowledgement(bridge: tuple[type[Bridge], str]) -> None:
    kind, url = bridge
    kind.status = 422
    feed = Feed([url], "http://target", "t")
    with pytest.raises(RuntimeError, match="422"):
        feed.put(0, [datetime.now(UTC)])
    feed.close()
    assert feed.acknowledged == 0
