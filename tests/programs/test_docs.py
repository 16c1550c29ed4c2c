"""The generated pages leave nothing out, and the limits are those that were promised. Freshness: `tests/house`."""

import pytest

from docs.configuration import configuration_page
from docs.limits import limits_page
from durable_timer.config.sources import setting_names, variable

PROMISED = """
| `shards` | 16 | 1 | 4096 |
| `payload.maxBytes` | 100 KiB | 1 KiB | 1 MiB |
| `payload.schema` | none |  | 64 KiB |
| JSON depth |  |  | 64 |
| `labels` | none | 0 | 16, Kubernetes syntax |
| `callback.timeout`, `callbackTimeoutSeconds` | 10s | 1s | 5m |
| answer that is read | 64 KiB | 1 KiB | 1 MiB |
| `lastError` |  |  | 1 KiB |
| `maxAttempts` | 200 | 1 | 1000 |
| `maxAttemptsDuration`, from the first attempt | 24h | 1s | 720h |
| `initialInterval` | 1s | 100ms | 1h |
| `backoffMultiplier` | 2.0 | 1.0 | 10.0 |
| `maxInterval`, and the cap of `Retry-After` | 15m | `initialInterval` | 24h |
| delay of a retry, after jitter |  | 100ms |  |
| `startingDeadline` | none; 1m with `missed: Skip` | 1s | 8760h |
| `callback.maxInFlight` | 1000 | 1 | 10000 |
| `callback.rateLimit.requests` | no limit | 1 | 100000 |
| `callback.rateLimit.period` | 1s | 1s | 1h |
| `retention.completed` | 1h | 0s | 8760h |
| `retention.failed` | 168h | 1h | 8760h |
| `objectives.lateness` | 1s | 10ms | 1h |
| `callback.signing.secretRefs` | none | 0 | 2 |
| `pageSize` | 100 | 1 | 1000 (more is 400) |
| body of a page |  |  | 16 MiB |
| items of a batch, cancel or redrive |  | 1 | 1000 |
| body of a request |  |  | 2 MiB (more is 413) |
| body of a batch, after gunzip |  |  | 16 MiB (more is 413) |
| request timeout | 10s | 1s | 60s; 504 past it |
| keep-alive | 1m15s | 1s | 300s |
| callbacks under way, of an executor | 1000 | 1 | 10000 |
| callbacks under way, to one target host | 100 | 1 | 10000 |
| look-ahead | 100ms | 0s | 1s |
| beat | 500ms |  |  |
| dead after | 2s |  |  |
| statement timeout, engine | 2s |  |  |
| statement timeout, REST | 5s |  |  |
"""


@pytest.mark.parametrize("row", PROMISED.strip().splitlines())
def test_a_default_or_bound_changes_on_purpose_only(row: str) -> None:
    """Clients, manifests and stored timers rely on these: loosening one is an addition, tightening one breaks them."""
    assert row in limits_page().splitlines()


def test_every_setting_is_documented() -> None:
    page = configuration_page()
    for name in setting_names():
        assert f"`{name}`<br>`{variable(name)}`" in page
