"""`make build`: every experiment and kernel becomes notebooks/<slug>/{<slug>.ipynb,kernel-metadata.json}.

One notebook belongs to no experiment: the preflight, which looks at the live image.

1. Up to date by the stamp: nothing heavy is loaded, nothing is written.
2. Otherwise each notebook is stitched afresh; a file whose bytes are already right is left alone.
3. A file that somebody edited (build/notebooks/seal.py) stops the build before anything is written.
"""

import difflib
import hashlib
import json
import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from build.core.errors import CheckFailed, Problem, UsageError
from build.core.image import assumed_versions
from build.notebooks import stamp
from build.notebooks.adopted import CARD, adopted_cards, adopted_texts, fingerprint, stitch_adopted, texts_held
from build.notebooks.adopted_card import AdoptedCard
from build.notebooks.base import prune, read_sources, remember_adopted, remember_all
from build.notebooks.file_texts import note_texts
from build.notebooks.metadata import (
    DATASET_METADATA,
    KERNEL_METADATA,
    dataset_metadata,
    kernel_metadata,
    kernel_problems,
    kernel_slug,
    slug_of,
)
from build.notebooks.notebook_file import NotANotebook, read_bytes, read_notebook
from build.notebooks.seal import dump_metadata, has_outputs, is_untouched, seal, vouches_for
from build.notebooks.synced import is_synced
from build.notebooks.writing import OVERWRITTEN, keep_overwritten, put, recover
from build.stitch.assembly import stitch_from
from build.stitch.modules import uncollected
from build.stitch.template import Template, parts_in, read_template
from kernel_src.competition.choice import DEFAULT_COMPETITION, chosen_competition
from kernel_src.competitions.held_facts import competitions, facts
from kernel_src.competitions.held_recipes import ENSEMBLES, EXPERIMENTS
from kernel_src.competitions.kernel_cards import KernelCard, kernel_card, kernels_of

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS, DATASETS_META = "notebooks", "datasets_meta"
KERNELS_FOLDER = Path("kernel_src", "kernels")
LEFT_OUT = "left out"  # the sources of an adopted kernel are not here
OVERWRITE_COMMAND = "python -m build notebooks --overwrite"


@dataclass(frozen=True)
class Built:
    """One notebook as it should lie on disk."""

    slug: str
    notebook: bytes
    metadata: dict[str, Any]
    source_sha256: str = ""
    main: str = ""
    parameters: dict[str, object] = field(default_factory=dict)
    adopted: AdoptedCard | None = None
    reason: str = ""  # why it holds files instead of cells
    texts: tuple[str, ...] = ()  # of the files that it holds

    def files(self, root: Path) -> dict[Path, bytes]:
        """Map each path to the bytes that belong there, the notebook first."""
        folder = root / NOTEBOOKS / self.slug
        return {folder / f"{self.slug}.ipynb": self.notebook, folder / KERNEL_METADATA: dump_metadata(self.metadata)}


@dataclass(frozen=True)
class BuildResult:
    """What became of one file or notebook."""

    path: str  # relative to the root
    state: str  # "written", "up to date", "overwritten" or "left out"
    saved: str = ""  # where the edited copy went


def all_cards(root: Path = ROOT) -> list[KernelCard]:
    """Return the cards of our own notebooks and of the adopted ones.

    Raises:
        CheckFailed: the card of an adopted one is not as it should be.
    """
    return [*own_cards(), *adopted_cards(root)]


def own_cards() -> list[KernelCard]:
    """Return the cards of every experiment's notebooks, of every ensemble's, and the preflight's."""
    recipes = [kernel_card(name, kernel) for name in (*EXPERIMENTS, *ENSEMBLES) for kernel in kernels_of(name)]
    # The preflight of one competition is enough; another's is there while a command works on it.
    return [*recipes, *map(preflight_card, dict.fromkeys((DEFAULT_COMPETITION, chosen_competition())))]


def preflight_card(competition: str = "") -> KernelCard:
    """Describe the preflight: of no experiment, with a competition mounted, the chosen one's, and on the usual GPUs."""
    own = facts(competition)
    return KernelCard(
        experiment="",
        kernel="preflight",
        parameters={"ASSUMED": assumed_versions(), "PARTS": (own.competition,)},
        datasets=(),
        competitions=(own.slug,),
        machine_shape="NvidiaTeslaT4",
        enable_gpu=True,
    )


def pull_command(slug: str) -> str:
    """Return the command that writes back what was edited on Kaggle in the notebook of this slug."""
    card = card_of(slug)
    if isinstance(card, AdoptedCard):
        return f"make pull-kernel EXPERIMENT={slug}" + (" KERNEL=train" if card.trains else "")
    if card is not None and not card.experiment:  # the preflight's
        return f"python -m build pull-kernel --experiment '' --kernel {card.kernel}"
    experiment, kernel = (card.experiment, card.kernel) if card else ("…", "…")
    return f"make pull-kernel EXPERIMENT={experiment} KERNEL={kernel}"


def card_of(slug: str) -> KernelCard | None:
    """Return the card of the notebook of this slug."""
    return next((card for card in all_cards() if slug_of(card) == slug), None)


def slug_named(experiment: str, kernel: str) -> str:
    """Return the slug of the notebook of an experiment or adopted kernel."""
    adopted = {card.slug for card in adopted_cards(ROOT) if card.kernel == kernel}
    return experiment if experiment in adopted else kernel_slug(experiment, kernel)


def build_missing(slug: str, root: Path = ROOT) -> Path:
    """Return the path of a notebook; one of ours that is not there, as most in a fresh clone, is built first.

    Raises:
        CheckFailed: see `build`.
    """
    path = root / NOTEBOOKS / slug / f"{slug}.ipynb"
    card = card_of(slug) if not path.is_file() else None
    if card is not None and (root / KERNELS_FOLDER).is_dir():
        build([card], root)
    return path


def notebook_of(slug: str, notebooks: Path) -> Path:
    """Find the built notebook of a kernel; one of ours that is not there is built.

    Raises:
        UsageError: it is not there (the message names those that are), or is not a notebook any more.
    """
    notebook = build_missing(slug, notebooks.parent)
    if not notebook.is_file():
        there = sorted(path.stem for path in notebooks.glob("*/*.ipynb"))
        raise UsageError(f"{notebook} does not exist: run `make build` (built: {', '.join(there) or 'none'})")
    try:
        read_notebook(read_bytes(notebook))
    except NotANotebook as error:
        raise UsageError(f"{notebook} {error}") from None
    return notebook


def choose_cards(experiment: str | None, cards: Sequence[KernelCard]) -> list[KernelCard]:
    """Return the cards of one experiment, or all.

    Raises:
        UsageError: there is no such experiment.
    """
    names = sorted({card.experiment for card in cards} - {""})
    if experiment and experiment not in names:
        close = difflib.get_close_matches(experiment, names, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UsageError(f"no experiment {experiment!r}; there are {', '.join(names)}.{hint}")
    return [card for card in cards if not experiment or card.experiment == experiment]


def check_notebook(experiment: str, kernel: str) -> None:
    """Make sure that an experiment has such a notebook.

    Raises:
        UsageError: it has not, or there is no such experiment.
    """
    kernels = [card.kernel for card in choose_cards(experiment, all_cards()) if card.experiment == experiment]
    if kernel not in kernels:
        raise UsageError(f"{experiment} has no notebook {kernel!r}; KERNEL (--kernel) is {' or '.join(kernels)}")


Templates = dict[tuple[str, tuple[str, ...] | None], Template]  # by kernel and optional parts


def read_templates(cards: Sequence[KernelCard], root: Path = ROOT) -> Templates:
    """Read each kernel's script and what it needs, once for all its notebooks that hold the same optional parts.

    One that cannot be read is left out.
    """
    templates: Templates = {}
    latest: dict[str, Template] = {}  # by kernel
    for card in cards:
        if not isinstance(card, AdoptedCard) and _template_key(card) not in templates:
            with suppress(CheckFailed):  # whoever builds the notebook meets it again
                template = _read_template(card, root, latest.get(card.kernel))
                templates[_template_key(card)] = latest[card.kernel] = template
    return templates


def _template_key(card: KernelCard) -> tuple[str, tuple[str, ...] | None]:
    return card.kernel, parts_in(card.parameters)


def build_notebook(card: KernelCard, root: Path = ROOT, templates: Templates | None = None) -> Built:
    """Stitch one notebook and describe it, in memory; `templates` are those of now, where they were read.

    Raises:
        CheckFailed: the sources cannot be stitched, or Kaggle would refuse the description.
    """
    metadata = kernel_metadata(card)
    problems = kernel_problems(metadata, f"kernel card {card.experiment}/{card.kernel}")
    if problems:
        raise CheckFailed(problems)
    if isinstance(card, AdoptedCard):
        stitched, main = stitch_adopted(card), card.main
    else:
        template = (templates or {}).get(_template_key(card)) or _read_template(card, root)
        stitched, main = stitch_from(template, card.parameters), (KERNELS_FOLDER / f"{card.kernel}.py").as_posix()
    sealed = seal(stitched, metadata)
    adopted = card if isinstance(card, AdoptedCard) else None
    texts = texts_held(card, stitched) if isinstance(card, AdoptedCard) else ()
    return Built(
        slug_of(card), sealed, metadata, stitched.source_sha256, main, card.parameters, adopted, stitched.reason, texts
    )


@uncollected()
def build(cards: Sequence[KernelCard], root: Path = ROOT, *, overwrite: bool = False) -> list[BuildResult]:
    """Bring the notebooks of `cards` up to date; one outcome per notebook, in their order.

    Of several, adopted kernels whose folders are not here are left out, and come last.

    Raises:
        CheckFailed: sources that cannot be stitched, or files edited by hand; then nothing was written.
    """
    recover(root)
    absent = absent_ones(cards) if len(cards) > 1 else []
    left_out = [BuildResult(_name(root / NOTEBOOKS / card.slug, root), LEFT_OUT) for card in absent]
    cards = [card for card in cards if card not in absent]
    sources = stamp.digest_inputs(root)
    inputs = {slug_of(card): _digest_of(card, sources, root) for card in cards}
    if len(inputs) < len(cards):
        slugs = [slug_of(card) for card in cards]
        twins = sorted({card.experiment for card, slug in zip(cards, slugs, strict=True) if slugs.count(slug) > 1})
        raise CheckFailed([Problem(what=f"{', '.join(twins)} get the same slug on Kaggle", cure="rename one of them")])
    if all(inputs.values()) and stamp.is_current(root, inputs):
        paths = [root / NOTEBOOKS / slug / f"{slug}.ipynb" for slug in inputs]
        return [*(BuildResult(_name(path, root), "up to date") for path in paths), *left_out]

    built, problems = [], []
    templates = read_templates(cards, root)
    for card in cards:
        try:
            built.append(build_notebook(card, root, templates))
        except CheckFailed as failed:
            problems += failed.problems
    edited = [path for one in built for path in find_edited(one, root)]
    if not overwrite:
        problems += [edit_problem(path, root) for path in edited]
    if problems:
        raise CheckFailed(list(dict.fromkeys(problems)))  # a fault in common/ shows up once per notebook
    texts = read_sources(root)
    # So that an edit of these notebooks finds the way back.
    own = [one for one in built if one.adopted is None]
    remember_all(root, {one.source_sha256: (one.main, one.parameters) for one in own}, texts)
    for one in built:
        if one.adopted is not None:
            remember_adopted(root, one.source_sha256, one.adopted, adopted_texts(one.adopted))
            note_texts(root, one.texts)
    outcomes = [_write(one, root, edited) for one in built]
    inputs = {slug: digest for slug, digest in inputs.items() if digest}
    stamp.remember(root, inputs, {one.slug: one.files(root) for one in built})
    prune(root)
    return [*outcomes, *left_out]


def _digest_of(card: KernelCard, sources: str, root: Path) -> str:
    """Return one digest of all that goes into a notebook; "" where it cannot be told without making it."""
    read = fingerprint(card, root) if isinstance(card, AdoptedCard) else ""
    return "" if read is None else hashlib.sha256(f"{sources}\n{card!r}{read}".encode()).hexdigest()


def absent_ones(cards: Sequence[KernelCard]) -> list[AdoptedCard]:
    """Return the adopted kernels whose folders are not on this machine: a colleague's card stops nobody."""
    return [card for card in cards if isinstance(card, AdoptedCard) and not card.folder.is_dir()]


def find_edited(built: Built, root: Path) -> list[Path]:
    """Return those of the notebook's two files that somebody changed by hand since they were built."""
    edited = []
    (notebook_path, notebook), (metadata_path, metadata) = built.files(root).items()
    there = notebook_path.read_bytes() if notebook_path.is_file() else b""
    if there and there != notebook and not is_untouched(there) and not is_synced(root, there):
        edited.append(notebook_path)
    if metadata_path.is_file():
        text = metadata_path.read_bytes()
        if text != metadata and not vouches_for(there, text):
            edited.append(metadata_path)
    return edited


def edit_problem(path: Path, root: Path) -> Problem:
    """Describe a generated file that was edited, with what to do about it."""
    source = "kernel_src/" if path.suffix == ".ipynb" else "kernel_src/competitions/"
    if (card := path.with_name(CARD)).is_file():
        source = f"the sources of {_name(card, root)}" if path.suffix == ".ipynb" else _name(card, root)
    return Problem(
        what="edited by hand since it was built; building would destroy the edit",
        where=_name(path, root),
        cure=f"carry the edit over to {source}"
        + (f" (`python -m build sync {shlex.quote(_name(path, root))}` does)" if path.suffix == ".ipynb" else "")
        + f", or `{OVERWRITE_COMMAND}`, which keeps a copy in {OVERWRITTEN.as_posix()}/",
    )


def find_orphans(cards: Sequence[KernelCard], root: Path = ROOT) -> list[Path]:
    """Return the folders under notebooks/ that belong to no experiment any more."""
    wanted = {slug_of(card) for card in (*cards, *map(preflight_card, competitions()))}
    folder = root / NOTEBOOKS
    return sorted(path for path in folder.glob("[!.]*") if path.is_dir() and path.name not in wanted)


def describe_datasets(cards: Sequence[KernelCard], root: Path = ROOT) -> list[BuildResult]:
    """Write dataset-metadata.json for each dataset of the cards that has none.

    One that is there stays as it is: title, description and licence are a person's to edit; the check reads them.
    """
    outcomes = []
    for slug in sorted({slug for card in cards for slug in card.datasets if "/" not in slug}):
        path = root / DATASETS_META / slug / DATASET_METADATA
        if not path.exists():
            put(path, dump_metadata(dataset_metadata(slug)))
            outcomes.append(BuildResult(_name(path, root), "written"))
    return outcomes


def run(
    experiment: str | None,
    as_json: bool,
    *,
    overwrite: bool = False,
    root: Path = ROOT,
    cards: Sequence[KernelCard] | None = None,
) -> None:
    """Build, and print one line per notebook, or one JSON object.

    Raises:
        CheckFailed: see `build`.
        UsageError: no such experiment.
    """
    started = time.perf_counter()
    everything = all_cards() if cards is None else cards
    chosen = choose_cards(experiment, everything)
    outcomes = build(chosen, root, overwrite=overwrite)
    datasets = describe_datasets(chosen, root)
    orphans = [_name(path, root) for path in find_orphans(everything, root)]
    seconds = time.perf_counter() - started
    if as_json:
        value = {"notebooks": [asdict(o) for o in outcomes], "datasets": [asdict(o) for o in datasets]}
        print(json.dumps({"ok": True, **value, "orphans": orphans, "seconds": round(seconds, 3)}, indent=2))
        return
    for outcome in [*outcomes, *datasets]:
        more = f" (the edited copy: {outcome.saved})" if outcome.saved else ""
        more = ": the folder of its sources is not on this machine" if outcome.state == LEFT_OUT else more
        print(f"{outcome.state:<11} {outcome.path}{more}")
    for orphan in orphans:
        print(f"orphan      {orphan}: no experiment makes it → `rm -r {orphan}`, or bring its experiment back")
    outcomes = [outcome for outcome in outcomes if outcome.state != LEFT_OUT]
    written = sum(outcome.state != "up to date" for outcome in outcomes)
    print(f"{len(outcomes)} notebooks: {written} written, {len(outcomes) - written} up to date, {seconds:.2f} s")


def _read_template(card: KernelCard, root: Path, like: Template | None = None) -> Template:
    with uncollected():
        return read_template(root / KERNELS_FOLDER / f"{card.kernel}.py", root, card.parameters, like=like)


def _write(built: Built, root: Path, edited: Sequence[Path]) -> BuildResult:
    state, saved = "up to date", []
    # The description first: an interrupted build then leaves an old notebook, which its seal knows for ours.
    for path, content in reversed(built.files(root).items()):
        there = path.read_bytes() if path.is_file() else None
        if there == content:
            continue
        if there is not None and (path in edited or has_outputs(there)):
            saved.append(_name(keep_overwritten(root, path, built.slug), root))
        put(path, content)
        state = "overwritten" if saved else "written"
    return BuildResult(_name(next(iter(built.files(root))), root), state, ", ".join(saved))


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
