"""The border guard of every connection: only to Kaggle, encrypted, verified, and never without a time limit.

Kaggle's client follows redirects wherever they lead and waits for ever; both end here. Only a download may go to
another host, and it carries no credentials.
"""

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter

from build.core.errors import CheckFailed, Problem, UsageError
from build.kaggle.retry import timeout_s

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

API_HOST = "api.kaggle.com"
CONNECT_S = 20.0
_left = 0  # requests that have left this process


def is_local() -> bool:
    """Return whether the tests' stand-in takes Kaggle's place.

    Raises:
        UsageError: KAGGLE_API_ENVIRONMENT is neither empty, PROD nor LOCALHOST: the client would go to production
            without a word (TEST), or to a site that is not ours.
    """
    environment = os.environ.get("KAGGLE_API_ENVIRONMENT") or "PROD"
    if environment not in ("PROD", "LOCALHOST"):
        raise UsageError(
            f"KAGGLE_API_ENVIRONMENT={environment}: unset it; the client would go to production regardless"
        )
    return environment == "LOCALHOST"


class Guard(HTTPAdapter):
    """Looks at each request, also at those that a redirect makes, just before it leaves."""

    def __init__(self, *, may_put: bool = False) -> None:
        """Guard one session; `may_put` allows uploads to where the API said."""
        super().__init__()
        self._may_put = may_put

    def send(self, request: "PreparedRequest", *args: Any, **kwargs: Any) -> "Response":
        """Refuse what must not leave; give the rest a time limit."""
        url = urlsplit(request.url or "")
        local = is_local()
        if url.scheme != ("http" if local else "https") or (local and not f".{url.hostname}".endswith(".localhost")):
            raise refusal(f"Kaggle names an address that is not encrypted or not its own: {url.scheme}://{url.netloc}")
        if url.hostname != ("localhost" if local else API_HOST):
            if request.method not in ("GET", "HEAD") and not (self._may_put and request.method == "PUT"):
                raise refusal(f"a redirect would have sent data to {url.netloc}")
            request.headers.pop("Authorization", None)  # also what requests finds for that host in ~/.netrc
        if kwargs.get("verify") is False:
            raise refusal("the verification of certificates is switched off")
        global _left
        _left += 1
        kwargs["timeout"] = kwargs.get("timeout") or (CONNECT_S, timeout_s())
        return super().send(request, *args, **kwargs)


def requests_sent() -> int:
    """Count the requests that have left, or were about to: where it stands still, nothing was sent."""
    return _left


def refusal(what: str) -> CheckFailed:
    """Say that nothing was sent."""
    cure = "nothing was sent; look for a proxy or a changed client, and report it"
    return CheckFailed([Problem(what=what, cure=cure)])


def guard(session: "Session", *, may_put: bool = False) -> "Session":
    """Put a session under guard."""
    for scheme in ("https://", "http://"):
        session.mount(scheme, Guard(may_put=may_put))
    return session


def open_session() -> "Session":
    """Return a session without credentials, for uploads and downloads at signed addresses."""
    import requests

    session = guard(requests.Session(), may_put=True)
    session.auth = lambda request: request  # or requests would look into ~/.netrc
    return session
