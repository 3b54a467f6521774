"""What several of the rehearsal's tests need."""

import pytest

from build.run.rehearse.sandbox import best_isolation


def isolation_or_skip(wanted: str) -> str:
    """Return the kind of isolation; skips where it is not to be had (the guard runs everywhere)."""
    best = best_isolation(wanted) if wanted != "guard" else None
    if best and not best.namespace:
        pytest.skip(f"--isolation {wanted} is not to be had here: {best.reason}")
    return wanted


@pytest.fixture
def namespaces() -> str:
    """Ask for namespaces; skips where the system does not allow them."""
    return isolation_or_skip("namespace")


@pytest.fixture(params=[pytest.param("bubblewrap", marks=pytest.mark.full), "namespace"])
def sandboxed(request: pytest.FixtureRequest) -> str:
    """Run the test in bubblewrap, then in the namespaces of our launcher."""
    return isolation_or_skip(str(request.param))


@pytest.fixture(
    params=[
        pytest.param("bubblewrap", marks=pytest.mark.full),
        "namespace",
        pytest.param("guard", marks=pytest.mark.full),
    ]
)
def isolation(request: pytest.FixtureRequest) -> str:
    """Run the test in bubblewrap, in the namespaces of our launcher, then with the guard alone."""
    return isolation_or_skip(str(request.param))
