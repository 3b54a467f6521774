"""The constants of the competition agree with each other, and a sample id can be taken apart again."""

import pytest

from kernel_src.competition.constants import IDENTITIES, TARGET_WEIGHTS, TARGETS, sample_id, split_sample_id


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


@pytest.mark.parametrize("image_id", ["ID1011485656", "ID__with__separators", "1"])
def test_a_sample_id_is_taken_apart_into_what_it_was_made_of(image_id: str) -> None:
    assert [split_sample_id(sample_id(image_id, t)) for t in TARGETS] == [(image_id, t) for t in TARGETS]


@pytest.mark.parametrize("name", ["ID1", "ID1__Dry_Green", "ID1_GDM_g", "", "ID1__gdm_g"])
def test_what_is_no_sample_id_is_refused_by_its_text(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name!r}.*Dry_Green_g, Dry_Dead_g"):
        split_sample_id(name)
