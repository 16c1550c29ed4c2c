"""Defaults and bounds of what enters the service: one constant each, so that REST, resources and docs cannot disagree."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

GROUP_ID_MAX: Final = 63
"""Characters of a group id, which is a DNS label."""

SHARDS_DEFAULT: Final = 16
"""Shards of a group that does not say."""

SHARDS_MIN: Final = 1
"""Fewest shards of a group."""

SHARDS_MAX: Final = 4096
"""Most shards of a group."""

STORE_DEFAULT: Final = "default"
"""The store of a group that names none."""

POOL_DEFAULT: Final = "default"
"""The executor pool of a group that names none."""

FUTURE_MAX: Final = timedelta(days=36_525)
"""How far ahead of the store's now an `executeAt` or a `nextExecuteAt` may lie: 100 years."""

DELAY_MAX: Final = timedelta(hours=99_999)
"""Longest `delay`, and the longest duration there is in this project's notation."""

CALLBACK_URL_MAX: Final = 2048
"""Characters of a `callbackUrl`."""

PAYLOAD_MAX_BYTES_DEFAULT: Final = 100 * 1024
"""Largest payload of a group that does not say."""

PAYLOAD_MAX_BYTES_MIN: Final = 1024
"""Least value of `payload.maxBytes`."""

PAYLOAD_MAX_BYTES_MAX: Final = 1024 * 1024
"""Greatest value of `payload.maxBytes`."""

RESOURCE_PAYLOAD_MAX_BYTES: Final = 64 * 1024
"""Largest payload of a timer that is declared as a resource, whatever its group allows."""

RESOURCE_NAME_MAX: Final = 187
"""Characters of a Timer resource's name: `k8s:`, a namespace, a colon and it make an id of 255 at most."""

PAYLOAD_SCHEMA_MAX_BYTES: Final = 64 * 1024
"""Largest `payload.schema`, as compact JSON in UTF-8."""

JSON_DEPTH_MAX: Final = 64
"""Deepest nesting of arrays and objects in JSON that is accepted."""

JSON_INTEGER_MIN: Final = -(2**63)
"""Least integer in JSON that is accepted."""

JSON_INTEGER_MAX: Final = 2**64 - 1
"""Greatest integer in JSON that is accepted."""

HEADERS_MAX: Final = 32
"""Headers of one timer."""

HEADERS_MAX_BYTES: Final = 8 * 1024
"""Names and values of a timer's headers together."""

HEADER_NAME_MAX: Final = 128
"""Characters of a header's name."""

HEADER_VALUE_MAX: Final = 4096
"""Characters of a header's value."""

LABELS_MAX: Final = 16
"""Labels of one timer."""

CALLBACK_TIMEOUT_DEFAULT: Final = timedelta(seconds=10)
"""How long a callback may take where neither timer nor group says."""

CALLBACK_TIMEOUT_MIN: Final = timedelta(seconds=1)
"""Shortest callback timeout."""

CALLBACK_TIMEOUT_MAX: Final = timedelta(minutes=5)
"""Longest callback timeout."""

ANSWER_MAX_BYTES_DEFAULT: Final = 64 * 1024
"""How much of a callback's answer is read."""

ANSWER_MAX_BYTES_MIN: Final = 1024
"""Least setting of how much of a callback's answer is read."""

ANSWER_MAX_BYTES_MAX: Final = 1024 * 1024
"""Greatest setting of how much of a callback's answer is read."""

LAST_ERROR_MAX_BYTES: Final = 1024
"""Bytes of a `lastError`, in UTF-8."""

MAX_ATTEMPTS_DEFAULT: Final = 200
"""Attempts of one occurrence where neither timer nor group says."""

MAX_ATTEMPTS_MIN: Final = 1
"""Fewest attempts: no retry."""

MAX_ATTEMPTS_MAX: Final = 1000
"""Most attempts of one occurrence."""

MAX_ATTEMPTS_DURATION_DEFAULT: Final = timedelta(hours=24)
"""How long after its first attempt an occurrence is tried, where neither timer nor group says."""

MAX_ATTEMPTS_DURATION_MIN: Final = timedelta(seconds=1)
"""Shortest `maxAttemptsDuration`."""

MAX_ATTEMPTS_DURATION_MAX: Final = timedelta(hours=720)
"""Longest `maxAttemptsDuration`."""

INITIAL_INTERVAL_DEFAULT: Final = timedelta(seconds=1)
"""The back-off after the first attempt, before jitter."""

INITIAL_INTERVAL_MIN: Final = timedelta(milliseconds=100)
"""Shortest `initialInterval`."""

INITIAL_INTERVAL_MAX: Final = timedelta(hours=1)
"""Longest `initialInterval`."""

BACKOFF_MULTIPLIER_DEFAULT: Final = 2.0
"""By what the back-off grows with each attempt."""

BACKOFF_MULTIPLIER_MIN: Final = 1.0
"""Least `backoffMultiplier`: the back-off stays as it is."""

BACKOFF_MULTIPLIER_MAX: Final = 10.0
"""Greatest `backoffMultiplier`."""

MAX_INTERVAL_DEFAULT: Final = timedelta(minutes=15)
"""The cap of the back-off, and of `Retry-After`."""

MAX_INTERVAL_MAX: Final = timedelta(hours=24)
"""Longest `maxInterval`; the shortest is the `initialInterval` beside it."""

RETRY_DELAY_MIN: Final = timedelta(milliseconds=100)
"""Least delay of a retry, after jitter."""

NEXT_EXECUTE_AT_LEAD_MIN: Final = timedelta(seconds=1)
"""A callback's `nextExecuteAt` sooner than this from now counts as this."""

STARTING_DEADLINE_SKIP_DEFAULT: Final = timedelta(minutes=1)
"""The starting deadline of a schedule with `missed: Skip` that names none."""

STARTING_DEADLINE_MIN: Final = timedelta(seconds=1)
"""Shortest `startingDeadline`."""

STARTING_DEADLINE_MAX: Final = timedelta(hours=8760)
"""Longest `startingDeadline`."""

CRON_MAX: Final = 128
"""Characters of a cron expression."""

MAX_IN_FLIGHT_DEFAULT: Final = 1000
"""Callbacks of a group under way at once, over all executors."""

MAX_IN_FLIGHT_MIN: Final = 1
"""Least `maxInFlight`."""

MAX_IN_FLIGHT_MAX: Final = 10_000
"""Greatest `maxInFlight`."""

RATE_LIMIT_REQUESTS_MIN: Final = 1
"""Fewest requests a period."""

RATE_LIMIT_REQUESTS_MAX: Final = 100_000
"""Most requests a period."""

RATE_LIMIT_PERIOD_MIN: Final = timedelta(seconds=1)
"""Shortest period of a rate limit, and its default."""

RATE_LIMIT_PERIOD_MAX: Final = timedelta(hours=1)
"""Longest period of a rate limit."""

RETENTION_COMPLETED_DEFAULT: Final = timedelta(hours=1)
"""How long completed timers are kept."""

RETENTION_COMPLETED_MIN: Final = timedelta(0)
"""Shortest `retention.completed`: the row goes when it completes."""

RETENTION_FAILED_DEFAULT: Final = timedelta(hours=168)
"""How long failed timers are kept."""

RETENTION_FAILED_MIN: Final = timedelta(hours=1)
"""Shortest `retention.failed`."""

RETENTION_MAX: Final = timedelta(hours=8760)
"""Longest retention."""

LATENESS_OBJECTIVE_DEFAULT: Final = timedelta(seconds=1)
"""The p99 lateness a group asks for."""

LATENESS_OBJECTIVE_MIN: Final = timedelta(milliseconds=10)
"""Tightest `objectives.lateness`."""

LATENESS_OBJECTIVE_MAX: Final = timedelta(hours=1)
"""Widest `objectives.lateness`."""

SIGNING_SECRETS_MAX: Final = 2
"""Secrets that sign a group's callbacks: the present one, and one more while they are exchanged."""

PAGE_SIZE_DEFAULT: Final = 100
"""Timers on a page."""

PAGE_SIZE_MAX: Final = 1000
"""Most timers on a page."""

PAGE_BODY_MAX_BYTES: Final = 16 * 1024 * 1024
"""A page ends early when its body would be larger."""

ITEMS_MAX: Final = 1000
"""Items of one batch, cancel or redrive."""

BODY_MAX_BYTES: Final = 2 * 1024 * 1024
"""A request's body, after decompression."""

BATCH_BODY_MAX_BYTES: Final = 16 * 1024 * 1024
"""A batch request's body, after decompression."""

BODIES_MAX_BYTES: Final = 64 * 1024 * 1024
"""Bodies of requests that a bridge reads and handles at once, all together; others wait, then get 503."""

CONNECTIONS_MAX: Final = 4096
"""Connections of clients that a bridge serves; on further ones it answers 503 and closes them, probes excepted."""
