"""One question after the other: through Kaggle's client, silenced, retried, explained; lists are read to their end."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from build.core.errors import CheckFailed, Problem
from build.kaggle.explain import Asked, is_absent
from build.kaggle.retry import send
from build.kaggle.session import silence

T = TypeVar("T")
PAGE = 200  # the largest page the site gives


class ApiSession:
    """The line to Kaggle of one account."""

    def __init__(self, api: Any, uploads: Path) -> None:
        """Take a KaggleApi that is signed in (build.kaggle.session)."""
        self._api = api
        self._uploads = uploads  # notes of uploads that may be resumed
        self.username: str = api.config_values["username"]

    def ask(
        self,
        method: str,
        request: Any,
        asked: Asked,
        read: Callable[[Any], T] = lambda answer: answer,
    ) -> T:
        """Ask one question of the SDK (`service.client.method`) and read its answer."""
        return send(lambda: self.send_once(method, request, read), asked)

    def send_once(self, method: str, request: Any, read: Callable[[Any], T]) -> T:
        """Send one request of the SDK, once, and read its answer."""
        with silence(), self._api.build_kaggle_client() as target:
            for name in method.split("."):
                target = getattr(target, name)
            return read(target(request))

    def ask_or_none(self, method: str, request: Any, asked: Asked) -> Any:
        """Send one request; None where what it asks about does not exist, or not yet."""
        try:
            return self.ask(method, request, asked)
        except CheckFailed as failed:
            if is_absent(failed):
                return None
            raise

    def pages(self, method: str, request: Any, asked: Asked) -> Iterator[Any]:
        """Send a request of a list until its last page was read."""
        seen: set[str] = set()
        while True:
            page: Any = self.ask(method, request, asked)
            yield page
            token = page.next_page_token
            if not token:
                return
            if token in seen:
                what = "Kaggle's list goes round in circles"
                raise CheckFailed([Problem(what=what, where=asked.ref, cure="run the same command again")])
            seen.add(token)
            request.page_token = token


def filled(request: T, **values: Any) -> T:
    """Fill a request; it refuses fields that it does not have."""
    for name, value in values.items():
        setattr(request, name, value)
    return request
