"""What several of the rehearsal's tests need."""

import pytest

from build.rehearse.sandbox import best_isolation


@pytest.fixture
def namespaces() -> str:
    """Ask for namespaces; skips where the system does not allow them (the guard's tests run everywhere)."""
    best = best_isolation()
    if not best.namespace:
        pytest.skip(f"this system allows no namespaces: {best.reason}")
    return "namespace"


@pytest.fixture(params=["namespace", "guard"])
def isolation(request: pytest.FixtureRequest) -> str:
    """Run the test with namespaces, then with the guard alone."""
    return str(request.getfixturevalue("namespaces") if request.param == "namespace" else request.param)
