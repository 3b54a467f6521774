"""The words of the competition at hand: what it is scored by, what its groups are called, what it predicts."""

from kernel_src.competitions.held_facts import facts
from kernel_src.competitions.held_reviews import review
from kernel_src.competitions.held_rules import rules

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def metric_name() -> str:
    """Return what the competition is scored by, as people write it."""
    return rules().metric.name


def number_word(number: int) -> str:
    """Write a small number as a word."""
    return NUMBERS[number] if number < len(NUMBERS) else f"{number:,}"


def targets_words() -> str:
    """Return what a table of predictions has beside its ids."""
    targets = facts().targets
    if facts().are_classes:
        return f"a probability for each of the {number_word(len(targets))} classes"
    return f"the {number_word(len(targets))} targets" if len(targets) > 1 else f"a column {targets[0]}"


def units_word() -> str:
    """Return what is drawn at random: groups, or photographs that each stand for themselves."""
    return "groups" if review().has_groups else "photographs"


def size_words(images: int, groups: int) -> str:
    """Say on how much something was judged."""
    return f"{images} images of {groups} groups" if review().has_groups else f"{images} images"


def groups_name() -> str:
    """Return the full name of the groups, as the rules have it."""
    return f"{rules().group_name}s"


def gain_words() -> str:
    """Say what a pair's difference is."""
    name = metric_name()
    return f"{name} of b minus {name} of a" if rules().metric.higher_is_better else f"{name} of a minus {name} of b"


def with_unit(what: str) -> str:
    """Write the unit of the predictions behind what is measured in it: `error, g`."""
    return f"{what}, {facts().unit}" if facts().unit else what


def error_words() -> str:
    """Say what the error of a part is, and what stands in brackets beside it."""
    if facts().are_classes:
        return "share of its images that are wrong; in brackets the share of all that are wrong"
    unit = " in grams" if facts().unit == "g" else f" in {facts().unit}" if facts().unit else ""
    weighted = "metric-weighted " if len(facts().targets) > 1 else ""
    return f"root of the {weighted}mean squared error{unit}; in brackets its share of all"


def loss_words() -> str:
    """Say of what a part has its share."""
    return "its wrong images" if facts().are_classes else "its squared error"
