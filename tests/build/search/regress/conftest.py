"""Small problems on a busy machine: threads would only wait for each other."""

from collections.abc import Iterator

import pytest

from build.search.regress.nested import one_thread


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield
