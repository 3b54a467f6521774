"""The constants of the competition agree with each other."""

import pytest

from kernel_src.competitions.biomass.constants import IDENTITIES, TARGET_WEIGHTS, TARGETS


def test_the_weights_are_those_of_the_evaluation_page_and_add_up_to_one() -> None:
    assert TARGET_WEIGHTS == {
        "Dry_Green_g": 0.1,
        "Dry_Dead_g": 0.1,
        "Dry_Clover_g": 0.1,
        "GDM_g": 0.2,
        "Dry_Total_g": 0.5,
    }
    assert sum(TARGET_WEIGHTS.values()) == pytest.approx(1.0)


def test_identities_speak_of_targets_only() -> None:
    assert {*IDENTITIES, *sum(IDENTITIES.values(), ())} == set(TARGETS)
