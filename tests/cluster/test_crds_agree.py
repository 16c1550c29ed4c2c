"""The models and the custom resource definitions judge alike: what a file may say, kubectl may apply, and nothing else."""

import http.client
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from durable_timer.models import limits
from durable_timer.models.group import TimerGroupManifest
from durable_timer.models.timer_manifest import TimerManifest
from tests.support.kubectl import Kubectl

pytestmark = pytest.mark.usefixtures("crds")

EXAMPLES = 300
JUDGED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)

nonsense = st.sampled_from([None, True, 0, -1, 1.5, "", "x", [], [1], {}, {"x": 1}, "10", "é", "a\n"])
durations = st.one_of(
    st.sampled_from(
        ["0s", "9ms", "10ms", "99ms", "100ms", "999ms", "1s", "1001ms", "15m", "24h", "24h1ms", "5m", "301s"]
    ),
    st.sampled_from(
        ["1h", "60m1ms", "59m", "720h", "721h", "8760h", "8760h1s", "99999h", "99999h99999h", "1d", "1.5s"]
    ),
    st.from_regex(r"\A([0-9]{1,3}(h|m|s|ms)){1,5}\Z"),
)
labels = st.one_of(
    st.sampled_from(["a", "a" * 63, "a" * 64, "-a", "a-", "A", "a.b", "a--b", "1", ""]),
    st.from_regex(r"\A[a-z0-9-]{1,5}\Z"),
)
names = st.one_of(labels, st.sampled_from(["a.b", "a..b", ".a", "a" * 253, "a" * 254]))
keys = st.sampled_from(["a", "A._-", "", "a" * 254, "a b", ".."])
multipliers = st.one_of(
    st.sampled_from(["1", "0.999", "1.0", "10", "10.0", "10.001", "2.", ".5", "1e1", "01.5", "99"]), st.just(2)
)
bools = st.booleans()


def numbers(least: int, most: int) -> st.SearchStrategy[int]:
    """Inside the bounds, and just outside."""
    return st.sampled_from([least, most, least - 1, most + 1]) | st.integers(least, most)


def repeated(text: str, *times: int) -> st.SearchStrategy[str]:
    """Long texts, short to print."""
    return st.sampled_from(times).map(lambda count: text * count)


def words(*right: str) -> st.SearchStrategy[str]:
    return st.sampled_from([*right, right[0].swapcase(), ""])


def parts(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some of these fields, seldom with one too many, or nonsense in one."""
    whole = st.fixed_dictionaries({}, optional=fields)
    odd = st.tuples(whole, st.sampled_from([*fields]), nonsense).map(lambda made: {**made[0], made[1]: made[2]})
    more = whole.map(lambda made: {**made, "unknown": 1})
    return st.one_of(whole, whole, whole, whole, odd, more)


retry_policies = parts(
    maxAttempts=numbers(limits.MAX_ATTEMPTS_MIN, limits.MAX_ATTEMPTS_MAX),
    maxAttemptsDuration=durations,
    initialInterval=durations,
    backoffMultiplier=multipliers,
    maxInterval=durations,
)
secrets = st.fixed_dictionaries({"name": names, "key": keys})
group_fields: dict[str, st.SearchStrategy[Any]] = {
    "groupId": labels,
    "shards": numbers(limits.SHARDS_MIN, limits.SHARDS_MAX),
    "store": labels,
    "executorPool": labels,
    "paused": bools,
    "deletionPolicy": words("Retain", "Delete"),
    "callback": parts(
        timeout=durations,
        method=words("POST", "GET"),
        format=words("Standard", "Raw", "CloudEvents"),
        maxInFlight=numbers(limits.MAX_IN_FLIGHT_MIN, limits.MAX_IN_FLIGHT_MAX),
        rateLimit=parts(requests=numbers(1, limits.RATE_LIMIT_REQUESTS_MAX), period=durations),
        signing=parts(secretRefs=st.lists(secrets, max_size=3)),
    ),
    "retryPolicy": retry_policies,
    "payload": parts(
        maxBytes=numbers(limits.PAYLOAD_MAX_BYTES_MIN, limits.PAYLOAD_MAX_BYTES_MAX),
        schema=st.sampled_from([{}, {"type": "object"}, {"properties": {"a": {"default": None}}}]),
    ),
    "retention": parts(completed=durations, failed=durations),
    "objectives": parts(lateness=durations),
}

instants = st.sampled_from([
    "2030-01-31T12:00:00Z", "2030-01-31T12:00:00.5+01:00", "2030-01-31T12:00:00-14:59", "2030-02-29T00:00:00Z",
    "2028-02-29T00:00:00Z", "2030-01-31T24:00:00Z", "2030-01-31T12:00:60Z", "2030-01-31t12:00:00z", "2030-01-31",
    "2030-01-31T12:00Z", "2030-01-31 12:00:00Z", "2030-01-31T12:00:00", "2030-13-01T00:00:00Z", "2999-12-31T23:59:59Z",
    "0999-01-01T00:00:00Z", "2030-01-31T12:00:00.123456789Z", "2030-01-31T12:00:00.1234567890Z", "2030-01-31T12:00:00,5Z",
])  # fmt: skip
crons = st.one_of(
    st.sampled_from(
        ["* * * * *", "0 9 * * MON-FRI", "@daily", "* * * *", "0 0 * * * *", "0  9 L * 5#2", " 0 9 * * *", "0 9 ? * *"]
    ),
    st.from_regex(r"\A[0-9*,/]{1,3}( [0-9*-]{1,2}){3,5}\Z"),
)
hosts = st.one_of(
    st.sampled_from([
        "a", "example.org", "example.org.", "a..b", ".", "-", "a_b", "127.0.0.1", "127.0.0.256", "127.1", "1.2.3.4.", "a.1",
        "a.0x1f", "0x", "1e5", "0x1g", "[::1]", "[2001:db8::1]", "[", "[]", "a" * 63, "a" * 64, "a" * 63 + ".b", "", "ä", "a b",
        "me@a", "me:pw@a", "01.2.3.4", "999", "EXAMPLE.Org", "1.2.3.4.5", "a%20b",
    ]),
    st.from_regex(r"\A[a-z0-9.x-]{1,8}\Z").filter(lambda host: "xn--" not in host),
)  # fmt: skip
urls = st.tuples(
    st.sampled_from(["http://", "https://", "HTTPS://", "http://", "ftp://", "http:/", "//", "http:\\\\"]),
    hosts,
    st.sampled_from(["", "", ":80", ":65535", ":65536", ":0", ":00080", ":000080", ":", ":x"]),
    st.sampled_from(["", "/", "/a:b@c?d#e", "?a", "#a", "\\a", "/ä", "/a b", "/a\t", "/'\"", "/a\n"])
    | repeated("/a", 1000, 1024),
).map("".join)
header_names = st.sampled_from([
    "X-A", "x-a", "Accept", "Host", "content-TYPE", "Webhook-Id", "ce-id", "Ce", "Durable-Timer-X", "X A", "", "a" * 128,
    "a" * 129, "X'A|`", "Traceparent", "TE", "ä",
])  # fmt: skip
header_values = st.sampled_from(["", "a", "a b", " a", "a ", "a\tb", "a\n", "ä", "\x7f"]) | repeated("v", 4096, 4097)
headers = st.lists(
    parts(name=header_names, value=header_values, valueFrom=parts(secretKeyRef=secrets))
    | st.fixed_dictionaries({"name": header_names, "value": header_values}),
    max_size=4,
)
label_names = st.sampled_from([
    "a", "A.b_c-d", "a/b", "a.b/c", "A/b", "a/", "/a", "a/b/c", "", "-a", "a" * 63, "a" * 64, "a." * 126 + "a/b", "a." * 126 + "aa/b",
    "é", "a b",
])  # fmt: skip
media_types = st.sampled_from([
    "application/json", "Application/JSON; charset=utf-8", "application/x+json", "text/plain", "plain", "text/plain;", "a/b; c=d e",
    'a/b; c="d e"', "a/b;c=d;e=f", "text/+JSON ; a=b", "application/jsonx", "", "a/" + "b" * 253, "a/" + "b" * 254, "a/b+json;c=+x",
    "application/json ;a=b", " application/json",
])  # fmt: skip
timer_fields: dict[str, st.SearchStrategy[Any]] = {
    "executeAt": instants,
    "schedule": parts(
        cron=crons,
        timeZone=st.sampled_from(["UTC", "Europe/Berlin", "Etc/GMT+5", "a b", "", "/a", "a/"]),
        missed=words("Run", "Skip"),
        startAt=instants,
        endAt=instants,
    ),
    "startingDeadline": durations,
    "callbackMethod": words("POST", "PUT", "PATCH", "GET", "DELETE"),
    "callbackFormat": words("Standard", "Raw", "CloudEvents"),
    "payload": st.sampled_from([0, False, "", [], {}, [None], {"a": None}, None, 1.5, "text"]),
    "payloadBase64": st.sampled_from(["", "AA==", "AAA=", "AAAA", "A", "AA=", "A===", "AA-_", "AA==\n"]),
    "contentType": media_types,
    "headers": headers,
    "labels": st.dictionaries(label_names, st.sampled_from(["", "a", "A.b", "-a", "a" * 63, "a" * 64]), max_size=3),
    "callbackTimeout": durations,
    "retryPolicy": retry_policies,
    "suspend": bools,
    "deletionPolicy": words("Retain", "Delete"),
}
valid_timer = {"groupRef": {"name": "g"}, "callbackUrl": "https://example.org/hook"}


@st.composite
def specs(draw: st.DrawFn, valid: dict[str, Any], fields: dict[str, st.SearchStrategy[Any]]) -> dict[str, Any]:
    """A spec that is right but for a few fields at most, which are drawn."""
    chosen = draw(st.lists(st.sampled_from([*fields]), max_size=2, unique=True))
    return {**valid, **{name: draw(fields[name]) for name in chosen}}


class Api:
    """Asks the API server what it would say to a new object."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def refusal(self, document: dict[str, Any]) -> str | None:
        """Why it would not be accepted; None when it would be."""
        plural = f"{document['kind'].lower()}s"
        path = f"/apis/durabletimer.dev/v1alpha1/namespaces/default/{plural}?dryRun=All&fieldValidation=Strict"
        self._connection.request("POST", path, json.dumps(document), {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        body = json.loads(answer.read())
        assert answer.status in {201, 400, 422}, body
        return None if answer.status == 201 else str(body["message"])

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def api(kubectl: Kubectl) -> Iterator[Api]:
    command = ["kubectl", "--kubeconfig", str(kubectl.kubeconfig), "proxy", "--port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as proxy:
        assert proxy.stdout
        started = re.search(r":(\d+)$", proxy.stdout.readline())
        assert started
        api = Api(int(started[1]))
        yield api
        api.close()
        proxy.terminate()


def refusal(model: type[TimerGroupManifest | TimerManifest], document: dict[str, Any]) -> str | None:
    try:
        model.model_validate_json(json.dumps(document))
    except ValidationError as error:
        return str(error)
    return None


def agree(api: Api, model: type[TimerGroupManifest | TimerManifest], name: str, spec: dict[str, Any]) -> None:
    document = {
        "apiVersion": "durabletimer.dev/v1alpha1",
        "kind": "TimerGroup" if model is TimerGroupManifest else "Timer",
        "metadata": {"name": name},
        "spec": spec,
    }
    ours, theirs = refusal(model, document), api.refusal(document)
    note(f"{json.dumps(spec)}\nmodel: {ours}\nAPI server: {theirs}")
    assert (ours is None) == (theirs is None)


@JUDGED
@given(spec=specs({}, group_fields), name=st.sampled_from([*["a"] * 8, "a" * 63, "a" * 64, "a.b"]))
def test_on_groups(spec: dict[str, Any], name: str, api: Api) -> None:
    agree(api, TimerGroupManifest, name, spec)


@JUDGED
@given(
    spec=st.one_of(
        specs({**valid_timer, "executeAt": "2030-01-31T12:00:00Z"}, timer_fields),
        specs({**valid_timer, "schedule": {"cron": "0 * * * *"}}, timer_fields),
        urls.map(lambda url: {**valid_timer, "executeAt": "2030-01-31T12:00:00Z", "callbackUrl": url}),
    ),
    name=st.sampled_from([*["a"] * 8, "a.b", "a" * 187, "a" * 188]),
)  # fmt: skip
def test_on_timers(spec: dict[str, Any], name: str, api: Api) -> None:
    agree(api, TimerManifest, name, spec)
