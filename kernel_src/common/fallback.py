"""## A submission from the first second

Before anything heavy is imported there is a complete, valid `submission.csv`: the training means that the bundles
carry. Whatever happens later, the rerun has something to score.
"""

from collections.abc import Mapping
from pathlib import Path

from kernel_src.common.competition import ID_COLUMN, TARGETS, sample_id, split_sample_id
from kernel_src.common.manifest import CONFIG_FILE, read_bundle_json
from kernel_src.common.submission import read_column, write_submission


def training_means(bundles: Mapping[Path, float]) -> dict[str, float]:
    """Average the training means of several bundles by their shares; grams by target, identities intact.

    Raises:
        BundleError: a bundle has no readable config.
        ValueError: the shares are negative, or all zero.
    """
    if not bundles or min(bundles.values()) < 0 or sum(bundles.values()) <= 0:
        raise ValueError(f"shares {list(bundles.values())}: none may be negative, and one must be above 0")
    means = dict.fromkeys(TARGETS, 0.0)
    for folder, share in bundles.items():
        config = read_bundle_json(folder, CONFIG_FILE)
        for target in TARGETS:
            means[target] += share / sum(bundles.values()) * config["target_mean_g"][target]
    return means


def write_fallback(path: Path, test_csv: Path, means: Mapping[str, float]) -> list[str]:
    """Write the same prediction for every image, and return the sample ids in the order of test.csv.

    Raises:
        ValueError: test.csv has no such column, or a sample id names an unknown target.
    """
    names = read_column(test_csv, ID_COLUMN)
    images = {split_sample_id(name)[0] for name in names}
    write_submission(path, names, {sample_id(image, target): means[target] for image in images for target in TARGETS})
    return names
