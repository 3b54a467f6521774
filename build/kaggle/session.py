"""The session with Kaggle: its client is imported, silenced, put under guard and signed in; then asked, one by one.

Importing `kaggle` signs in at once, prints help, and with VERBOSE set prints every header with the key in it. So it is
imported with an environment in which it finds nothing to do, and signs in afterwards, under guard. Each question is
retried and explained; lists are read to their end.
"""

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from build.core.credentials import TOKEN_PAGE, blocking_problems, config_folder, find_sources, is_account, mode_problems
from build.core.errors import CheckFailed, Problem
from build.core.interrupts import raise_noted
from build.kaggle.explain import Asked, explain, is_absent, status_of
from build.kaggle.retry import send
from build.kaggle.wire import guard, is_local
from kernel_src.runtime.untrusted import quoted

# With these the client's sign-in at import neither asks the server nor prints.
_AT_IMPORT = {"KAGGLE_API_TOKEN": os.devnull, "KAGGLE_USERNAME": "nobody", "KAGGLE_KEY": "none"}
_TELLTALE = ("VERBOSE", "VERBOSE_OUTPUT")  # the client then prints every header


def sign_in() -> Any:
    """Return a KaggleApi that is signed in, sends nothing but to Kaggle and does not retry by itself.

    Raises:
        CheckFailed: no credentials, not to be read, readable by others, or stale.
    """
    local = is_local()
    if problems := [*mode_problems(), *blocking_problems()]:
        raise CheckFailed(problems)
    sources = find_sources()
    if not sources:
        raise CheckFailed([_no_credentials()])
    api = _make_api(local)

    def authenticate() -> bool:
        with silence():
            try:
                api.authenticate()
            except SystemExit:  # the client's word for "no credentials": there are some, and Kaggle takes none of them
                raise _stale("the client found nothing that Kaggle accepts") from None
        return True

    send(authenticate, Asked("sign in", "account"))
    # Sent as a token whenever it is there, even by a client that signed in with a key: KAGGLE_TOKEN, `token` in a file.
    if sources[0].kind != "token" and "KEY" in str(api.config_values.get("auth_method", "")).upper():
        api.config_values.pop("token", None)
    elif sources[0].kind == "token" and "TOKEN" not in str(api.config_values.get("auth_method", "")).upper():
        raise _stale("the token is not active")
    if not is_account(account := api.config_values.get("username")):
        what = f"the account's name is {quoted(account)}, which is not a valid name on Kaggle"
        raise CheckFailed([Problem(what=what, where=sources[0].where, cure=f"make a new token at {TOKEN_PAGE}")])
    return api


def _stale(words: str) -> CheckFailed:
    """Explain credentials that are there and are not accepted, as the server's own 401 would be."""
    import requests

    response = requests.Response()
    response.status_code = 401
    return explain(requests.HTTPError(words, response=response), Asked("sign in", "account"))


def _make_api(local: bool) -> Any:
    with _environment(_AT_IMPORT, _TELLTALE), silence():
        from kaggle.api.kaggle_api_extended import KaggleApi

        api = KaggleApi()
    folder = config_folder()
    # The class keeps what it found when it was first imported; this one follows the environment of now.
    api.args = ["--local"] if local else []
    api.config_dir, api.config = str(folder), str(folder / api.config_file)
    api.config_values = {}
    build = api.build_kaggle_client

    def build_guarded() -> Any:
        client = build()
        http = client.http_client()
        http._init_session()  # noqa: SLF001 — the session is made lazily, and followed redirects must be guarded, too
        guard(http._session)
        return client

    api.build_kaggle_client = build_guarded
    return api


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep what the client prints off the screen: it would spoil --json, and may hold addresses with tokens."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def _environment(values: dict[str, str], without: tuple[str, ...]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in (*values, *without)}
    for name in without:
        os.environ.pop(name, None)
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _no_credentials() -> Problem:
    return Problem(
        what="no credentials for Kaggle on this machine",
        cure=f"make a token at {TOKEN_PAGE} and save it as ~/.kaggle/access_token, readable by you only (chmod 600)",
    )


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
        read: Callable[[Any], T] = lambda response: response,
    ) -> T:
        """Ask one question of the SDK (`service.client.method`) and read its response."""
        return send(lambda: self.send_once(method, request, read), asked)

    def send_once(self, method: str, request: Any, read: Callable[[Any], T]) -> T:
        """Send one request of the SDK, once, and read its response.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed before, and got lost.
        """
        raise_noted()
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

    def code_of(self, method: str, request: Any, asked: Asked) -> int:
        """Send one request and return the HTTP code of its response.

        Raises:
            CheckFailed: there was no response.
        """
        try:
            self.ask(method, request, asked)
        except CheckFailed as failed:
            code = status_of(failed.__cause__) if isinstance(failed.__cause__, Exception) else 0
            if not code:
                raise
            return code
        return 200

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
                what = "Kaggle's list repeats the same page"
                raise CheckFailed([Problem(what=what, where=asked.ref, cure="run the same command again")])
            seen.add(token)
            request.page_token = token


def filled(request: T, **values: Any) -> T:
    """Fill a request; it refuses fields that it does not have."""
    for name, value in values.items():
        setattr(request, name, value)
    return request
