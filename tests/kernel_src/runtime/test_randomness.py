"""A seed is a function of where it is used: alike on every machine, different in every place."""

from kernel_src.runtime.randomness import seed_at


def test_a_seed_is_the_same_on_every_machine_and_in_every_process() -> None:
    # A literal, because Python's own hash() differs from process to process; sha256("42/fold/0") begins so.
    assert seed_at(42, "fold", 0) == 585247568


def test_every_part_of_the_place_matters() -> None:
    places = [(1, "epoch", 2, "row", 3), (2, "epoch", 2, "row", 3), (1, "order", 2, "row", 3)]
    places += [(1, "epoch", 3, "row", 3), (1, "epoch", 2, "row", 4), (1, "epoch", 2), (1, "epoch", 23)]
    assert len({seed_at(*place) for place in places}) == len(places)


def test_seeds_fit_into_31_bits() -> None:
    assert all(0 <= seed_at(i) < 2**31 for i in range(1000))
