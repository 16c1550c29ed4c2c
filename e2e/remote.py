"""The client's pod (`client`), seen from the one who directs it."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import orjson

from e2e.client import Order, Report
from faults.clients import Account
from faults.ledger import Change, Entry, Kind, Ledger, Result
from faults.load import Targets

ANSWERS_WITHIN: Final = 180.0
"""Seconds: requests that nobody answers are repeated for a minute before the load ends."""


class RemoteClient:
    """A client (`faults.clients.Client`) in a pod, at HOST:PORT."""

    def __init__(self, address: str, bridges: Sequence[str], targets: Targets, *, scale: float, slow: float) -> None:
        self._address = address
        self._bridges = list(bridges)
        self._targets = targets
        self._scale = scale
        self._slow = slow

    def begin(self, lasts: float) -> None:
        order = Order(
            bridges=self._bridges,
            quick=self._targets.quick,
            slow=self._targets.slow,
            scale=self._scale,
            slow_rate=self._slow,
            lasts=lasts,
        )
        self._post("begin", asdict(order))

    def run(self) -> None:
        self._post("run")

    def stop(self) -> Account:
        report = Report(**orjson.loads(self._post("stop")))
        entries = {one["id"]: _entry(one) for one in report.entries}
        return Account(Ledger(entries, report.wrong), report.unanswered)

    def end(self) -> None:
        self._post("end")

    def _post(self, what: str, body: object = None) -> bytes:
        """What it answers. Raises RuntimeError when that is not 200."""
        connection = http.client.HTTPConnection(self._address, timeout=ANSWERS_WITHIN)
        with contextlib.closing(connection):
            connection.request("POST", f"/{what}", orjson.dumps(body))
            answer = connection.getresponse()
            read = answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"the client answered {answer.status} to {what}")
        return read


def _entry(one: Mapping[str, Any]) -> Entry:
    change = one["change"]
    return Entry(
        id=one["id"],
        kind=Kind(one["kind"]),
        due=one["due"],
        acknowledged=one["acknowledged"],
        change=change and Change(change["due"], Result(change["result"]), change["answered"]),
    )
