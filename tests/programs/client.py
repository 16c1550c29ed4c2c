"""A REST client that shares no code with the service."""

import contextlib
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any


class Client:
    """Requests to one process, each over a connection of its own."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc

    def request(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        payload = None if body is None else json.dumps(body)
        headers = {"content-type": "application/json"} | dict(headers or {}) if payload is not None else {}
        with contextlib.closing(http.client.HTTPConnection(self._address, timeout=30)) as connection:
            connection.request(method, path, payload, headers)
            answer = connection.getresponse()
            content = answer.read()
        is_json = "json" in (answer.getheader("content-type") or "")
        return Answer(answer.status, json.loads(content) if is_json and content else content.decode())

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def create(self, group: str, **timer: object) -> dict[str, Any]:
        answer = self.request("POST", f"/api/v1/groups/{group}/timers", timer)
        assert answer.status == http.HTTPStatus.CREATED, answer
        created: dict[str, Any] = answer.body
        return created

    def timer(self, group: str, timer_id: str) -> dict[str, Any]:
        answer = self.get(f"/api/v1/groups/{group}/timers/{timer_id}")
        assert answer.status == http.HTTPStatus.OK, answer
        found: dict[str, Any] = answer.body
        return found
