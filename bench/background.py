"""Work that goes on in threads while a measure waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeVar

T = TypeVar("T")


class Background:
    """While entered, threads work; on leaving they are told to end, awaited, and what they raised is raised."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="background")
        self._futures: list[Future[object]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        self._threads.shutdown()
        for future in self._futures if kind is None else ():
            future.result()

    @property
    def over(self) -> bool:
        """Whether the threads are to end."""
        return self._over.is_set()

    def run(self, work: Callable[[], T]) -> Callable[[], T]:
        """Begins the work in a thread; the answer gives its result, once there is one."""
        future: Future[T] = self._threads.submit(work)
        self._futures.append(future)  # type: ignore[arg-type] # a Future is covariant in all that is done here
        return future.result

    def until_over(self, items: Iterable[T]) -> Iterator[T]:
        """The items, until the threads are to end."""
        for item in items:
            if self.over:
                return
            yield item


def repeated(background: Background, step: Callable[[], None]) -> None:
    """Calls `step` until the threads are to end."""
    while not background.over:
        step()
