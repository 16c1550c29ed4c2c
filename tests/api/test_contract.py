"""api.yaml and the bridge cannot drift apart: routes, models, codes and examples are held against each other."""

import re
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema_rs
import pytest
import yaml
from pydantic import BaseModel

from durable_timer.metrics import Metrics
from durable_timer.models import checks, limits
from durable_timer.models.durations import DURATION_PATTERN, parse_duration
from durable_timer.models.group import GroupState
from durable_timer.models.results import IfExists, WhenRunning
from durable_timer.models.timer import CallbackFormat, CallbackMethod, Missed, TimerState
from durable_timer.stores.base import Store
from durable_timer.stores.memory import MemoryStore
from durable_timer_api import schemas
from durable_timer_api.app import build_app
from durable_timer_api.filters import FILTER_PARAMETERS
from durable_timer_api.handlers.listing import View
from durable_timer_api.problems import Code
from tests.api.support import TIMERS, create_body

ROOT = Path(__file__).parents[2]
CONTRACT: dict[str, Any] = yaml.safe_load((ROOT / "api.yaml").read_text())
SCHEMAS: dict[str, Any] = CONTRACT["components"]["schemas"]
METHODS = {"get", "put", "post", "patch", "delete"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in CONTRACT["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                yield path, method, operation


def resolved(node: Any) -> Any:
    """The node with its references and OpenAPI 3.0's `nullable` written as JSON Schema has it."""
    if isinstance(node, list):
        return [resolved(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target: Any = CONTRACT
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return resolved(target)
    plain = {name: resolved(value) for name, value in node.items() if name not in {"nullable", "example", "format"}}
    if node.get("nullable") and isinstance(plain.get("type"), str):
        plain["type"] = [plain["type"], "null"]
    elif node.get("nullable") and "allOf" in plain:
        plain = {"anyOf": [{"allOf": plain["allOf"]}, {"type": "null"}]}
    return plain


def test_the_package_carries_the_contract() -> None:
    assert (files("durable_timer_api") / "api.yaml").read_bytes() == (ROOT / "api.yaml").read_bytes()


def test_routes_are_those_of_the_contract() -> None:
    routes = {
        (route.method.lower(), route.resource.canonical)
        for route in build_app({"default": MemoryStore()}, Metrics()).router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert routes == {(method, path) for path, method, _ in operations()}


def test_operation_ids_are_unique_and_are_the_metrics_names() -> None:
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(ids)) == len(ids)


async def test_each_operation_is_measured_under_its_operation_id(client: aiohttp.ClientSession) -> None:
    for path, method, _ in operations():
        async with client.request(method, path.format(groupId="demo", timerId="a"), json={}):
            pass
    async with client.get("/metrics") as answer:
        measured = set(re.findall(r'http_requests_total\{operation="(\w+)"', await answer.text()))
    assert measured == {operation["operationId"] for _, _, operation in operations()}


def test_every_operation_says_what_it_is() -> None:
    for path, method, operation in operations():
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["tags"], where
        if path.startswith("/api/v1"):
            assert {"400", "401", "403", "429", "500", "503", "504"} <= operation["responses"].keys(), where
            assert ("requestBody" in operation) == ("415" in operation["responses"]), where
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for response in resolved(list(operation["responses"].values())) + bodies:
            assert all(media["examples"] for media in response.get("content", {}).values()), where


def test_every_example_fits_its_schema() -> None:
    count = 0
    for path, method, operation in operations():
        holders = resolved([*operation["responses"].values(), operation.get("requestBody", {})])
        for media in (media for holder in holders for media in holder.get("content", {}).values()):
            validator = jsonschema_rs.Draft202012Validator(media["schema"])
            for name, example in media["examples"].items():
                found = [error.message for error in validator.iter_errors(example["value"])]
                assert not found, f"{method} {path} {name}: {found}"
                count += 1
    assert count > 100


async def test_every_example_of_a_request_is_accepted(client: aiohttp.ClientSession) -> None:
    await client.post(TIMERS, json=create_body(id="invoice-2026-0042-reminder"))
    for path, method, operation in operations():
        for media in operation.get("requestBody", {}).get("content", {}).values():
            for name, example in media["examples"].items():
                body = {key: value for key, value in example["value"].items() if key != "pageToken"}
                url = path.format(groupId="demo", timerId="invoice-2026-0042-reminder")
                async with client.request(method, url, json=body) as answer:
                    assert answer.status in {200, 201, 409}, f"{method} {path} {name}: {await answer.text()}"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (schemas.NewTimerBody, "NewTimer"),
        (schemas.TimerChangeBody, "TimerChange"),
        (schemas.RetryPolicyBody, "RetryPolicy"),
        (schemas.ScheduleBody, "Schedule"),
        (schemas.FilterBody, "Filter"),
        (schemas.FailedFilterBody, "FailedFilter"),
    ],
)
def test_models_have_the_fields_of_the_contract(model: type[BaseModel], name: str) -> None:
    schema = SCHEMAS[name]
    read_only = schemas.TimerChangeBody.READ_ONLY if name == "TimerChange" else frozenset[str]()
    assert schema["additionalProperties"] is False
    fields = {str(field.alias): field for field in model.model_fields.values()}
    assert fields.keys() | read_only == schema["properties"].keys()
    assert not fields.keys() & read_only
    assert {alias for alias, field in fields.items() if field.is_required()} == set(schema.get("required", ()))


@pytest.mark.parametrize("name", ["CancelSelection", "RedriveSelection"])
def test_selections_have_the_fields_of_the_contract(name: str) -> None:
    model = schemas.CancelBody if name == "CancelSelection" else schemas.RedriveBody
    stated = {field for branch in SCHEMAS[name]["oneOf"] for field in branch["properties"]}
    assert {field.alias for field in model.model_fields.values()} == stated


def test_codes_are_those_of_the_contract() -> None:
    assert SCHEMAS["ErrorCode"]["enum"] == list(Code)
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", SCHEMAS["ErrorCode"]["description"], re.MULTILINE)
    assert [(code, int(status)) for code, status in rows] == [(code.value, code.status.value) for code in Code]


def test_examples_of_problems_carry_the_status_of_their_code() -> None:
    for path, method, operation in operations():
        for status, response in resolved(operation["responses"]).items():
            for example in response.get("content", {}).get("application/problem+json", {}).get("examples", {}).values():
                code = Code(example["value"]["code"])
                assert str(code.status.value) == status == str(example["value"]["status"]), f"{method} {path} {code}"
                assert example["value"]["title"] == code.status.phrase


@pytest.mark.parametrize(
    ("stated", "kept"),
    [
        (SCHEMAS["State"]["enum"], TimerState),
        (SCHEMAS["CallbackMethod"]["enum"], CallbackMethod),
        (SCHEMAS["CallbackFormat"]["enum"], CallbackFormat),
        (SCHEMAS["Schedule"]["properties"]["missed"]["enum"], Missed),
        (SCHEMAS["Group"]["properties"]["state"]["enum"], GroupState),
        (CONTRACT["components"]["parameters"]["IfExists"]["schema"]["enum"], IfExists),
        (CONTRACT["components"]["parameters"]["WhenRunning"]["schema"]["enum"], WhenRunning),
        (CONTRACT["paths"]["/api/v1/groups"]["get"]["parameters"][2]["schema"]["enum"], View),
    ],
)
def test_words_are_those_of_the_contract(stated: list[str | None], kept: type[StrEnum]) -> None:
    assert {word for word in stated if word is not None} == set(kept)


def test_bounds_are_those_of_the_contract() -> None:
    policy, schema = SCHEMAS["RetryPolicy"]["properties"], SCHEMAS
    timeout, page = SCHEMAS["CallbackTimeoutSeconds"], CONTRACT["components"]["parameters"]["PageSize"]["schema"]
    bounds = {
        "maxAttempts": (policy["maxAttempts"]["minimum"], policy["maxAttempts"]["maximum"]),
        "backoffMultiplier": (policy["backoffMultiplier"]["minimum"], policy["backoffMultiplier"]["maximum"]),
        "callbackTimeoutSeconds": (timedelta(seconds=timeout["minimum"]), timedelta(seconds=timeout["maximum"])),
        "pageSize": (page["default"], page["maximum"]),
        "url": schema["CallbackUrl"]["maxLength"],
        "headers": (schema["Headers"]["maxProperties"], schema["Headers"]["additionalProperties"]["maxLength"]),
        "labels": schema["Labels"]["maxProperties"],
        "cron": schema["Schedule"]["properties"]["cron"]["maxLength"],
        "items": (schema["TimerBatch"]["properties"]["timers"]["maxItems"], schema["Ids"]["maxItems"]),
        "duration": schema["Duration"]["pattern"],
    }
    assert bounds == {
        "maxAttempts": (limits.MAX_ATTEMPTS_MIN, limits.MAX_ATTEMPTS_MAX),
        "backoffMultiplier": (limits.BACKOFF_MULTIPLIER_MIN, limits.BACKOFF_MULTIPLIER_MAX),
        "callbackTimeoutSeconds": (limits.CALLBACK_TIMEOUT_MIN, limits.CALLBACK_TIMEOUT_MAX),
        "pageSize": (limits.PAGE_SIZE_DEFAULT, limits.PAGE_SIZE_MAX),
        "url": limits.CALLBACK_URL_MAX,
        "headers": (limits.HEADERS_MAX, limits.HEADER_VALUE_MAX),
        "labels": limits.LABELS_MAX,
        "cron": limits.CRON_MAX,
        "items": (limits.ITEMS_MAX, limits.ITEMS_MAX),
        "duration": DURATION_PATTERN,
    }


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("maxAttemptsDuration", limits.MAX_ATTEMPTS_DURATION_MIN, limits.MAX_ATTEMPTS_DURATION_MAX),
        ("initialInterval", limits.INITIAL_INTERVAL_MIN, limits.INITIAL_INTERVAL_MAX),
        ("maxInterval", None, limits.MAX_INTERVAL_MAX),
    ],
)
def test_bounds_in_words_are_those_enforced(field: str, least: timedelta | None, most: timedelta) -> None:
    text = SCHEMAS["RetryPolicy"]["properties"][field]["description"]
    found = re.search(r"(\w+) to (\w+)\.$", text)
    assert found is not None
    assert parse_duration(found[2]) == most
    assert least is None or parse_duration(found[1]) == least


def test_filters_of_the_query_and_the_body_are_the_same() -> None:
    assert {name.replace("labels", "label") for name in SCHEMAS["Filter"]["properties"]} == FILTER_PARAMETERS


@pytest.mark.parametrize("timer_id", ["a", ".", "..", "...", "k8s:x", "a b", "", "~:@-._", "ä", "a" * 255, "a" * 256])
def test_ids_of_the_contract_are_those_accepted(timer_id: str) -> None:
    def accepts(check: Any) -> bool:
        try:
            check(timer_id)
        except ValueError:
            return False
        return True

    assert bool(re.search(SCHEMAS["TimerId"]["pattern"], timer_id)) == accepts(checks.check_timer_id)
    assert bool(re.search(SCHEMAS["NewTimerId"]["pattern"], timer_id)) == accepts(checks.check_new_timer_id)


async def test_an_answered_timer_has_the_fields_of_the_contract(client: aiohttp.ClientSession, store: Store) -> None:
    del store
    full = create_body(id="a", payload={"x": 1}, executeAt=None, schedule={"cron": "0 9 * * *"})
    binary = create_body(id="b", payloadBase64="AAEC")
    answers = []
    for body in (full, binary):
        async with client.post(TIMERS, json=body) as answer:
            answers.append(await answer.json())
    timer = SCHEMAS["Timer"]
    assert answers[0].keys() | answers[1].keys() == timer["properties"].keys()
    assert answers[0].keys() & answers[1].keys() == set(timer["required"])
