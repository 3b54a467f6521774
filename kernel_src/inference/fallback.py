"""## A submission from the first second

Before anything heavy is imported there is a complete, valid `submission.csv`: the training means that the bundles
carry. Whatever happens later, the rerun has something to score.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kernel_src.competitions.held_facts import facts
from kernel_src.runtime.faults import Fault, FaultLog
from kernel_src.runtime.files import CONFIG_FILE
from kernel_src.runtime.manifest import (
    MANIFEST_FILE,
    BundleError,
    damage,
    damaged_files,
    read_bundle_json,
    read_manifest,
)
from kernel_src.runtime.mounts import find_dataset


@dataclass(frozen=True, kw_only=True)
class Attached:
    """One bundle as the notebook finds it; without a folder or a manifest it cannot be used."""

    slug: str
    share: float
    folder: Path | None = None
    manifest: Mapping[str, Any] | None = None
    means: Mapping[str, float] | None = None  # training means by target
    damaged: frozenset[str] = frozenset()  # files that must not be used


def not_found(shares: Mapping[str, float]) -> list[Attached]:
    """Return the bundles as they are before the search: without a folder."""
    return [Attached(slug=slug, share=share) for slug, share in shares.items()]


def find_bundles(shares: Mapping[str, float], log: FaultLog) -> list[Attached]:
    """Find every bundle and read its manifest and its training means, but none of its weights.

    Raises:
        ValueError: the shares are negative, or all zero.
        NotContained: a bundle is missing or unreadable, outside the rerun.
    """
    if not shares or min(shares.values()) < 0 or sum(shares.values()) <= 0:
        raise ValueError(f"shares {list(shares.values())}: none may be negative, and one must be above 0")
    found = []
    for slug, share in shares.items():
        try:
            folder = find_dataset(slug, MANIFEST_FILE)
            manifest = read_manifest(folder)
            # A config that was changed is reported later; its means are not used even now.
            config = {name: entry for name, entry in manifest["files"].items() if name == CONFIG_FILE}
            means = None if damaged_files(folder, {"files": config}) else _means_of(folder)
        except (OSError, BundleError, KeyError, TypeError, ValueError) as error:
            what = f"{slug} cannot be used: {error}"
            log.contain(Fault(part="bundle", what=what, fallback="the other bundles, else the training mean"), error)
            found.append(Attached(slug=slug, share=share))
            continue
        found.append(Attached(slug=slug, share=share, folder=folder, manifest=manifest, means=means))
    return found


def _means_of(folder: Path) -> dict[str, float]:
    """Read a bundle's training means by target."""
    found = read_bundle_json(folder, CONFIG_FILE)["target_mean"]
    means = {target: float(found[target]) for target in facts().targets}
    if not all(facts().lowest <= mean <= facts().highest and abs(mean) < math.inf for mean in means.values()):
        raise BundleError(
            f"{folder / CONFIG_FILE}: target_mean {means} are not what the targets can be: make the bundle again"
        )
    return means


def training_means(bundles: list[Attached]) -> dict[str, float]:
    """Average the training means of the bundles by their shares, by target, identities intact.

    Where no bundle can be read they are the competition's own, so that there is a submission nevertheless.
    """
    usable = [(bundle.means, bundle.share) for bundle in bundles if bundle.means is not None]
    total = sum(share for _, share in usable)
    if total <= 0:
        return dict(facts().fallback)
    return {target: sum(share * means[target] for means, share in usable) / total for target in facts().targets}


def verify_bundles(bundles: list[Attached], log: FaultLog) -> list[Attached]:
    """Compare every file of every bundle with its manifest; those that differ must not be used.

    Raises:
        NotContained: a file differs, outside the rerun.
    """
    verified = []
    for bundle in bundles:
        damaged: dict[str, str] = {}
        if bundle.folder is not None and bundle.manifest is not None:
            damaged = damaged_files(bundle.folder, bundle.manifest)
            if damaged:
                error = damage(bundle.folder, damaged)
                fault = Fault(part="bundle", what=str(error), fallback="what of it is intact, else the other bundles")
                log.contain(fault, error)
            else:
                print(f"{bundle.folder}: {len(bundle.manifest['files'])} files verified")
        verified.append(replace(bundle, damaged=frozenset(damaged)))
    return verified
