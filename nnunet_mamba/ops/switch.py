"""A switch that is on inside a `with`, in this thread or task only."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Switch:
    """False, and true inside `with switch.on()`."""

    def __init__(self, name: str):
        self._is_on: ContextVar[bool] = ContextVar(name, default=False)

    def __bool__(self) -> bool:
        return self._is_on.get()

    @contextmanager
    def on(self) -> Iterator[None]:
        token = self._is_on.set(True)
        try:
            yield
        finally:
            self._is_on.reset(token)
