"""Scripts that nobody here wrote, as scripts and as notebooks: does the notebook do what the script does?

    KIT_WILD=/work/.mirror .venv/bin/python -m tests.build.stitch.wild [PART OF A NAME …]

`KIT_WILD` is a folder of public repositories, `OWNER+NAME/repo` each a bare git directory; none of their code is ever
committed here. Each script is run as `cd root && PYTHONPATH=. python script ARGS`, with tiny data or with `--help`, and
its notebook in a real ipykernel in an empty folder; exit code, printed text and written files are compared. Where a
script stops because a package is missing here, both must stop there. `KIT_WILD_SITE` may name a folder with packages
(`pip install --no-deps --target`) for both. Without names all are run, and docs/stitch-in-the-wild.md is written.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from build.core.errors import CheckFailed
from build.stitch.modes import stitch_script
from tests.build.stitch import real_kernel
from tests.build.stitch.real_kernel import Ran, run_notebook, run_script, without_colours

ROOT = Path(__file__).resolve().parents[3]
WILD = Path(os.environ.get("KIT_WILD", "no-such-folder"))
TABLE = ROOT / "docs" / "stitch-in-the-wild.md"
LIMIT_S = 400.0
REPOSITORIES = {
    "nick-leland/Image2Biomass-Competition": "bcce1e9",
    "karpathy/nanoGPT": "3adf61e",
    "karpathy/minGPT": "37baab7",
    "karpathy/nanochat": "92d63d4",
    "knshnb/kaggle-happywhale-1st-place": "6969014",
    "dontpanic-v/CSIRO-image2biomass": "30b11da",
    "LinkinPony/CSIRO": "02675e6",
    "karpathy/makemore": "988aa59",
    "karpathy/minbpe": "1acefe8",
    "kuangliu/pytorch-cifar": "49b7aa9",
    "weiaicunzai/pytorch-cifar100": "11d8418",
    "ashleve/lightning-hydra-template": "bddbc24",
    "facebookresearch/mae": "efb2a80",
    "microsoft/Swin-Transformer": "f82860b",
    "huggingface/nanoVLM": "4e0c096",
    "haqishen/SIIM-ISIC-Melanoma-Classification-1st-Place-Solution": "8250ca4",
    "huggingface/pytorch-image-models": "aa4b585",
    "ultralytics/yolov5": "5081342",
    "pytorch/examples": "77f55b9",
    "akamaster/pytorch_resnet_cifar10": "d5489e8",
    "milesial/Pytorch-UNet": "21d7850",
    "facebookresearch/dino": "7c446df",
    "facebookresearch/ConvNeXt": "048efce",
    "eriklindernoren/PyTorch-GAN": "36d3c77",
    "abhishekkrthakur/tez": "b131190",
    "TheoViel/kaggle_rsna_abdominal_trauma": "6e9d193",
}


def _names(folder: Path) -> None:
    (folder / "names.txt").write_text("\n".join(["emma", "olivia", "ava", "isabella", "sophia"] * 400))


def _tokens(folder: Path) -> None:
    import numpy as np

    (folder / "data" / "tiny").mkdir(parents=True, exist_ok=True)
    for name in ("train", "val"):
        np.random.default_rng(0).integers(0, 60, 4000).astype(np.uint16).tofile(folder / f"data/tiny/{name}.bin")


def _words(folder: Path) -> None:
    (folder / "data" / "tiny").mkdir(parents=True, exist_ok=True)
    for name in ("train", "valid", "test"):
        (folder / f"data/tiny/{name}.txt").write_text("the cat sat on the mat and the dog lay down \n" * 60)


@dataclass(frozen=True)
class Script:
    """One script, and how it is run."""

    repository: str
    path: str
    arguments: str = "--help"
    root: str = ""  # below the repository
    data: Callable[[Path], None] | None = None  # writes what would be mounted
    without: tuple[str, ...] = ()  # files that it names, and that would be mounted or are left by runs
    carried: tuple[str, ...] = ()  # files that it reads and does not name
    ignored: str = ""  # what differs between two runs of the script itself, as a regular expression
    files: bool = True  # whether the bytes that it writes are the same in two runs


SEED, CSIRO, TIMM = "nick-leland/Image2Biomass-Competition", "LinkinPony/CSIRO", "huggingface/pytorch-image-models"
_RUNS = ("experiments", "scripts/experiments", "submissions")  # of the seed: what its runs left
_HEAVY = (  # of LinkinPony/CSIRO: more than a notebook holds
    *("third_party", "data", "configs/train_*", "outputs_*", "tools", "tests", "src/training", "src/tabular", "tune*"),
    *("package_artifacts.py", "src/callbacks", "src/inference/tabpfn.py", "configs/backup_*", "configs/nano_*"),
)
_NOT_TO_TRAIN = (
    *("third_party", "data", "configs/*_*", "outputs_*", "tools", "tests", "src/inference", "src/tabular"),
    *("package_*", "infer_*", "tabpfn_*", "swa_*", "summarize_*", "create_*", "compute_*", "export_*", "tune.py"),
)
_NOT_TIMM = ("timm", "results", "tests", "convert")  # the installed timm is taken: its own is 5 MB
_NOT_YOLO = ("data/images", "segment", "classify", "utils/aws", "utils/flask_rest_api", "benchmarks.py", "hubconf.py")
_GPT = "--device=cpu --compile=False --dataset=tiny --block_size=8 --batch_size=2 --n_layer=1 --n_head=1 --n_embd=8"
SCRIPTS = (
    # The twelve of ../shared/facts/stitch-in-the-wild.md.
    Script(SEED, "scripts/train_depth_model.py", without=_RUNS),
    Script(SEED, "scripts/train_kfold_mse.py", without=_RUNS),
    Script(SEED, "scripts/train_foundation_models.py", without=_RUNS),
    Script(SEED, "scripts/generate_submission_depth.py", without=_RUNS),
    Script(
        "karpathy/nanoGPT",
        "train.py",
        f"{_GPT} --max_iters=2 --eval_iters=1 --eval_interval=2 --gradient_accumulation_steps=1 --dtype=float32",
        data=_tokens,
        without=("data/*",),
        ignored=r"time [\d.]+ms.*",
        files=False,
    ),
    Script("karpathy/nanoGPT", "sample.py", "--device=cpu"),
    Script(
        "karpathy/minGPT",
        "projects/adder/adder.py",
        "--trainer.max_iters=3",
        ignored=r"iter_dt [\d.]+ms",
        files=False,
    ),
    Script("karpathy/nanochat", "scripts/base_train.py"),
    Script("karpathy/nanochat", "scripts/chat_cli.py"),
    Script("knshnb/kaggle-happywhale-1st-place", "src/train.py", without=("input/*",)),
    Script("dontpanic-v/CSIRO-image2biomass", "train.py"),
    Script(CSIRO, "infer_and_submit_pt.py", "", without=_HEAVY),
    # Chosen here.
    Script(CSIRO, "train.py", without=_NOT_TO_TRAIN),
    Script(
        "karpathy/makemore",
        "makemore.py",
        "--max-steps 3 --type bigram",
        data=_names,
        without=("names.txt",),
        ignored=r"step time [\d.]+ms|tfevents[\w.]+",
        files=False,
    ),
    Script("karpathy/minbpe", "train.py", "", ignored=r"[\d.]+ seconds"),
    Script("kuangliu/pytorch-cifar", "main.py"),
    Script("weiaicunzai/pytorch-cifar100", "train.py"),
    Script("ashleve/lightning-hydra-template", "src/train.py"),
    Script("facebookresearch/mae", "main_pretrain.py"),
    Script("microsoft/Swin-Transformer", "main.py"),
    Script("huggingface/nanoVLM", "train.py"),
    Script("haqishen/SIIM-ISIC-Melanoma-Classification-1st-Place-Solution", "train.py"),
    Script(TIMM, "train.py", without=_NOT_TIMM),
    Script(TIMM, "avg_checkpoints.py", without=_NOT_TIMM),
    Script("ultralytics/yolov5", "export.py", without=_NOT_YOLO),
    Script("ultralytics/yolov5", "train.py", without=_NOT_YOLO),
    Script(
        "pytorch/examples",
        "main.py",
        "--data ./data/tiny --epochs 1 --emsize 8 --nhid 8 --bptt 5 --batch_size 4",
        root="word_language_model",
        data=_words,
        without=("data/*",),
        ignored=r"ms/batch +[\d.]+|time: +[\d.]+s",
        files=False,
    ),
    Script("pytorch/examples", "generate_sine_wave.py", "", root="time_sequence_prediction"),
    Script("pytorch/examples", "main.py", "", root="regression", ignored=r"(function|Loss):.*", files=False),
    Script("pytorch/examples", "neural_style/neural_style.py", root="fast_neural_style", without=("images",)),
    Script("pytorch/examples", "main.py", root="mnist"),
    Script("akamaster/pytorch_resnet_cifar10", "trainer.py"),
    # Not looked at before the stitcher was finished.
    Script("milesial/Pytorch-UNet", "predict.py", without=("data/*",)),
    Script("facebookresearch/dino", "eval_knn.py"),
    Script("facebookresearch/ConvNeXt", "main.py", without=("object_detection", "semantic_segmentation")),
    Script("eriklindernoren/PyTorch-GAN", "implementations/gan/gan.py"),
    Script("eriklindernoren/PyTorch-GAN", "implementations/esrgan/esrgan.py"),
    Script("eriklindernoren/PyTorch-GAN", "cyclegan.py", root="implementations/cyclegan"),
    Script("abhishekkrthakur/tez", "examples/image/digit_recognizer.py"),
    Script("TheoViel/kaggle_rsna_abdominal_trauma", "main.py", root="src"),
)


# %% What is compared
@dataclass
class Row:
    """What came of one script."""

    script: Script
    mode: str = ""
    reason: str = ""  # why it is in files, or why there is no notebook
    result: str = ""  # of the script: its exit code, or where it stopped
    differs: list[str] = field(default_factory=list)
    seconds: float = 0.0  # of the stitching

    def __str__(self) -> str:
        """Write the table's row."""
        where = f"{self.script.root}/{self.script.path}".lstrip("/")
        call = f"`{where} {self.script.arguments}`".replace(" `", "`")
        equal = "equal" if self.mode and not self.differs else f"**{'; '.join(self.differs) or 'not built'}**"
        cells = (self.script.repository, call, self.mode or "–", equal, self.result, self.reason)
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def git_folder(repository: str) -> Path:
    """Return where a repository's git directory would lie."""
    return WILD / repository.replace("/", "+") / "repo"


@contextmanager
def checked_out(script: Script) -> Iterator[Path]:
    """Hand out the root of a script, in a folder of its own; what the snapshot lacks is not there."""
    git = ["git", "--git-dir", str(git_folder(script.repository))]
    commit = REPOSITORIES[script.repository]
    environment = os.environ | {"GIT_NO_LAZY_FETCH": "1"}
    with tempfile.TemporaryDirectory(prefix="kit-wild-") as name:
        listed = subprocess.run(
            [*git, "ls-tree", "-rz", commit, "--", script.root or "."], check=True, capture_output=True, env=environment
        )
        for line in filter(None, listed.stdout.split(b"\0")):
            meta, _, path = line.decode().partition("\t")
            mode, _, sha = meta.split()
            if not mode.startswith("100"):  # a link or a submodule
                continue
            found = subprocess.run([*git, "cat-file", "blob", sha], capture_output=True, env=environment)
            if not found.returncode:
                (Path(name) / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(name) / path).write_bytes(found.stdout)
        root = Path(name) / script.root
        if script.data is not None:
            script.data(root)
        yield root


def examine(script: Script) -> Row:
    """Run a script, stitch it, run the notebook, and say what differs."""
    row = Row(script)
    with checked_out(script) as root, tempfile.TemporaryDirectory(prefix="kit-wild-nb-") as folder:
        main = root / script.path
        begun = time.perf_counter()
        try:
            stitched = stitch_script(
                main, root, arguments=script.arguments, data=script.carried, without=script.without
            )
        except CheckFailed as failed:
            row.reason = "; ".join(map(str, failed.problems[:3])) + (" …" if len(failed.problems) > 3 else "")
            return row
        row.seconds = time.perf_counter() - begun
        row.mode, row.reason = stitched.mode, stitched.reason
        if script.data is not None:
            script.data(Path(folder))
        mine = run_notebook(stitched, Path(folder), fresh=True, limit_s=LIMIT_S)
        theirs = run_script(main, root, script.arguments)
        row.differs = differences(script, theirs, mine, root)
        row.result = "exit code 0" if theirs.code == 0 else f"stops: {_last_line(theirs.errors)[:90]}"
    return row


def differences(script: Script, theirs: Ran, mine: Ran, root: Path) -> list[str]:
    """Say in what a notebook did something else than its script."""
    found = []
    if theirs.code != mine.code:
        found.append(f"exit code {theirs.code}, notebook {mine.code}: {_last_line(mine.errors)[:150]}")
    elif theirs.code and _plain(script, _last_line(theirs.errors)) not in _plain(script, mine.errors + mine.printed):
        found.append(f"ends with {_last_line(theirs.errors)[:80]!r}, notebook {_last_line(mine.errors)[:80]!r}")
    # As files, what goes to stderr stands between what is printed.
    said = Counter(_plain(script, theirs.printed).split("\n"))
    shown = Counter(_plain(script, mine.printed).split("\n"))
    if missing := said - shown:
        found.append(f"does not print {next(iter(missing))[:80]!r}")
    if not theirs.errors and (more := shown - said):
        found.append(f"prints {next(iter(more))[:80]!r}")
    wanted, written = (
        {_plain(script, path): content for path, content in ran.written(root).items()} for ran in (theirs, mine)
    )
    if wanted.keys() != written.keys():
        found.append(f"writes {sorted(wanted.keys() ^ written.keys())[:3]} on one side only")
    elif script.files and wanted != written:
        found.append(f"writes other bytes into {next(path for path in wanted if wanted[path] != written[path])}")
    return found


def _last_line(text: str) -> str:
    lines = [line for line in without_colours(text).strip().split("\n") if line.strip()]
    return lines[-1].strip() if lines else ""


def _plain(script: Script, text: str) -> str:
    """Return a text without what differs between two runs: colours, folders, addresses, times."""
    text = re.sub(r"/\S*kit-(script|wild|wild-nb)-\w+(/root)?", "ROOT", without_colours(text))
    text = re.sub(r"0x[0-9a-f]+", "ADDRESS", text)
    return re.sub(script.ignored, "…", text) if script.ignored else text


# %% The table
def page(rows: list[Row]) -> str:
    """Write docs/stitch-in-the-wild.md."""
    built, inline = [row for row in rows if row.mode], [row for row in rows if row.mode == "inline"]
    equal = [row for row in built if not row.differs]
    slowest = max(rows, key=lambda row: row.seconds)
    return "\n".join(
        [
            "# Code that nobody here wrote",
            "",
            "For anyone who wants to know whether their script will make a notebook.",
            "",
            f"{len(rows)} scripts of {len({row.script.repository for row in rows})} public repositories: {len(built)} "
            f"became a notebook, {len(inline)} of them inline; {len(equal)} notebooks did what the script does: exit "
            "code, printed text, files written. The first twelve are those of which none could be stitched on "
            "29 November 2026. Run with tiny data, or with `--help`, on the CPU; a script that stops here for want of "
            "a package, data or a GPU must stop there as a notebook, too, which says little. `--help` says that the "
            "whole import and the command line work, and nothing of the training behind them. "
            f"{sum(bool(row.script.without) for row in rows)} were stitched with `--without`: for data that would be "
            "mounted, what runs have left, or because a notebook holds less than 1 MB.",
            "",
            f"Slowest to stitch: {slowest.script.repository}, {slowest.seconds:.2f} s. Python "
            f"{sys.version.split()[0]}, ipykernel {version('ipykernel')}, torch {version('torch')}. "
            "Commits and data: `tests/build/stitch/wild.py`, which makes this page.",
            "",
            "| repository | script | mode | notebook and script | the script | why files, or why none |",
            "|---|---|---|---|---|---|",
            *map(str, rows),
            "",
        ]
    )


def in_its_surroundings(set_variable: Callable[[str, str], object]) -> None:
    """Set what both sides are run with."""
    set_variable("PYTHONPATH", os.pathsep.join(filter(None, (".", os.environ.get("KIT_WILD_SITE", "")))))
    for name, value in (("WANDB_MODE", "disabled"), ("OMP_NUM_THREADS", "1"), ("COLUMNS", "100")):
        set_variable(name, value)
    real_kernel.LIMIT_S = LIMIT_S


def main() -> int:
    """Examine what is asked for."""
    in_its_surroundings(os.environ.__setitem__)
    words, rows = sys.argv[1:], []
    for script in SCRIPTS:
        name = f"{script.repository} {script.root}/{script.path}"
        if git_folder(script.repository).is_dir() and all(word in name for word in words):
            rows.append(examine(script))
            print(rows[-1], flush=True)
    if not words:
        TABLE.write_text(page(rows), encoding="utf-8")
    return int(any(row.differs for row in rows))


if __name__ == "__main__":
    sys.exit(main())
