"""The sides of the comparisons: our inference, its floor, and the seed's way.

All use the same weights, the same photographs and the same number of threads, and say how many seconds they took.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from build.core.submission_file import submission_problems
from kernel_src.bundle.bundles import Bundle, BundleRecipe, load_recipe
from kernel_src.competition.facts import HiddenTest
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.constraints import constrain
from kernel_src.competitions.biomass.hidden_table import read_hidden_test, save_predictions
from kernel_src.data.images import picture_tensor, read_rgb, resize_rgb
from kernel_src.data.symmetries import apply_view
from kernel_src.inference.inference import InferenceResult, Job, infer
from kernel_src.models.depth import estimate_depth
from kernel_src.models.prediction import forward_values
from kernel_src.runtime.device import DeviceReport
from kernel_src.runtime.faults import FaultLog

BATCH_SIZE = 16  # as in kernel_src/kernels/infer.py
FAR_S = 24 * 3600.0  # a deadline that is never reached
MEANS = dict.fromkeys(TARGETS, 10.0)


@dataclass(kw_only=True)
class Work:
    """What is to be predicted, by whichever side."""

    competition: Path
    recipes: Sequence[BundleRecipe]
    device: DeviceReport
    out: Path  # for submissions
    loading_s: list[float] = field(default_factory=list)  # of our inference, which is not counted
    grams: np.ndarray | None = None  # what our inference answered

    def test(self) -> HiddenTest:
        """Read the table, as the notebook does."""
        return read_hidden_test(self.competition, FaultLog(strict=True))

    def paths(self) -> list[Path]:
        """Return the photographs' files."""
        return list(self.test().photographs.values())


@dataclass(kw_only=True)
class Timed:
    """Keeps what calls took: seconds on the clock, and of the processor in this process and its ended children."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def __call__(self, work: Callable[[], object]) -> float:
        """Call and return the seconds on the clock."""
        start, before = time.perf_counter(), os.times()
        work()
        self.wall_s.append(time.perf_counter() - start)
        self.cpu_s.append(sum(os.times()[:4]) - sum(before[:4]))
        return self.wall_s[-1]


class Apart:
    """One side in a forked process of its own, computing in a fresh thread, as the engine's worker does.

    Then this process never touches a GPU, which forked workers could not use any more. And the comparison is fair where
    other work has the cores: a process's first team of OpenMP threads spins while it waits for its members, later ones
    sleep, and on a busy machine the spinning one was ten times slower (docs/performance.md).
    """

    def __init__(self, make: Callable[[], Callable[[], Any]]) -> None:
        """Start; `make` prepares everything there and returns what is to be timed."""
        self.wall_s: list[float] = []
        self.cpu_s: list[float] = []
        self.answer: Any = None  # of the last call
        self._threads = torch.get_num_threads()
        context = get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=self._serve, args=(theirs, make), daemon=True)
        self._process.start()
        theirs.close()
        self._hear()

    def __call__(self) -> float:
        """Do it once and return the seconds on the clock."""
        self._pipe.send("go")
        wall_s, cpu_s, self.answer = self._hear()
        self.wall_s.append(wall_s)
        self.cpu_s.append(cpu_s)
        return self.wall_s[-1]

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()

    def _hear(self) -> Any:
        try:
            return self._pipe.recv()
        except EOFError:
            raise RuntimeError("a side of the comparison has ended: its error stands above") from None

    def _serve(self, pipe: Connection, make: Callable[[], Callable[[], Any]]) -> None:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(self._loop, pipe, make).result()

    def _loop(self, pipe: Connection, make: Callable[[], Callable[[], Any]]) -> None:
        torch.set_num_threads(self._threads)
        run = make()
        pipe.send("ready")
        while True:
            pipe.recv()
            start, before = time.perf_counter(), time.process_time()
            answer = run()
            pipe.send((time.perf_counter() - start, time.process_time() - before, answer))


def our_inference(work: Work) -> InferenceResult:
    """Run what the notebook runs, from the table to the last submission.csv; `work` keeps how long the loading took."""
    test, path = work.test(), work.out / "submission.csv"
    save_predictions(path, test, [], MEANS)
    outcome = infer(
        Job(
            image_ids=tuple(test.photographs),
            paths=tuple(test.photographs.values()),
            recipes=tuple(work.recipes),
            damaged=(frozenset(),) * len(work.recipes),
            shares=(1.0,) * len(work.recipes),
            stack=None,
            constraint="projection",
            means=MEANS,
        ),
        work.device,
        FaultLog(strict=True),
        deadline_s=time.monotonic() + FAR_S,
        batch_size=BATCH_SIZE,
        save=lambda grams: save_predictions(path, test, grams, MEANS),
    )
    if problems := submission_problems(path, list(test.row_ids)):
        raise ValueError("\n".join(problems))
    work.loading_s.append(outcome.seconds["loading"])
    work.grams = outcome.values
    return outcome


# %% The floor


class Floor:
    """The forward passes alone, on tensors that lie ready on the device: depth once per photograph, each fold and view.

    The same nets in the same memory layout, the same number of threads, batches of the same size.
    """

    def __init__(self, work: Work) -> None:
        """Prepare everything that is no arithmetic of the nets."""
        self.half, target = work.device.half, torch.device(work.device.kind)
        self.jobs = []
        for recipe in work.recipes:
            bundle = load_recipe(recipe)
            for model in bundle.models:
                model.to(target).to(memory_format=torch.channels_last)
            if bundle.depth is not None:
                bundle.depth.to(target)
            pixels = [picture_tensor(resize_rgb(read_rgb(path), bundle.framings[0])) for path in work.paths()]
            pictures = torch.stack(pixels).to(target)
            symmetries = bundle.symmetries
            normalised = bundle.preprocessing.normalise(pictures)
            parts = [slice(i, i + BATCH_SIZE) for i in range(0, len(pictures), BATCH_SIZE)]
            turned = [[apply_view(normalised[part], view).contiguous() for view in symmetries] for part in parts]
            self.jobs.append((bundle, symmetries, [pictures[part] for part in parts], turned))

    def ready(self) -> Callable[[], None]:
        """Warm up and return what is to be timed."""
        self._warm_up()
        return self.run

    @torch.inference_mode()
    def _warm_up(self) -> None:
        """Let a net of every kind see one batch: threads are made and memory is reserved."""
        for bundle, _, parts, turned in self.jobs:
            depth = bundle.depth
            maps = None if depth is None else estimate_depth(depth, parts[0], bundle.experiment.depth_channels)
            forward_values(bundle.models[0], turned[0][0], self.half, maps)  # the other folds are alike

    @torch.inference_mode()
    def run(self) -> None:
        """Compute everything once."""
        for bundle, symmetries, parts, turned in self.jobs:
            for pictures, batches in zip(parts, turned, strict=True):
                depth = None
                if bundle.depth is not None:
                    depth = estimate_depth(bundle.depth, pictures, bundle.experiment.depth_channels)
                for view, batch in zip(symmetries, batches, strict=True):
                    maps = None if depth is None else apply_view(depth, view)
                    for model in bundle.models:
                        forward_values(model, batch, self.half, maps).cpu()


# %% The seed's way

# What the seed's inference notebooks did: for every fold, for every view, every photograph is decoded at its full size,
# resized, normalised and brought through the fold's own depth model and net, one after the other; everything in fp32.


def full_size_picture(path: Path, size_px: tuple[int, int]) -> np.ndarray:
    """Decode at the full size and squash, as albumentations' Resize does: OpenCV, linear; (height, width, 3) uint8."""
    rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return cv2.resize(rgb, size_px[::-1], interpolation=cv2.INTER_LINEAR)


def seeds_way(work: Work, bundles: Sequence[Sequence[Bundle]]) -> np.ndarray:
    """Predict the seed's way; `bundles` has per recipe one bundle per fold, each with a depth model of its own."""
    test = work.test()
    by_recipe = []
    for folds in bundles:
        by_fold = [_fold_by_the_seed(bundle, list(test.photographs.values()), work) for bundle in folds]
        by_recipe.append(np.mean(by_fold, 0))
    grams = constrain(np.mean(by_recipe, 0), "projection")
    save_predictions(work.out / "seed.csv", test, grams, MEANS)
    return grams


@torch.inference_mode()
def _fold_by_the_seed(bundle: Bundle, paths: Sequence[Path], work: Work) -> np.ndarray:
    experiment, (model,) = bundle.experiment, bundle.models
    by_view = []
    for view in bundle.symmetries:
        answers = []
        for path in paths:
            pixels = picture_tensor(full_size_picture(path, experiment.pictures.canvas_px))[None].to(work.device.kind)
            picture = apply_view(pixels, view)
            depth = bundle.depth(picture, experiment.depth_channels) if bundle.depth is not None else None
            answers.append(forward_values(model, bundle.preprocessing.normalise(picture), False, depth).cpu().numpy())
        by_view.append(np.concatenate(answers))
    return np.mean(by_view, 0)


def folds_apart(recipe: BundleRecipe, device: DeviceReport) -> list[Bundle]:
    """Load every fold with a depth model of its own, as the seed's checkpoints held it."""
    bundles = [load_recipe(recipe, folds=[fold]) for fold in range(len(recipe.folds))]
    for bundle in bundles:
        for net in (*bundle.models, *([bundle.depth] if bundle.depth is not None else [])):
            net.to(device.kind)
    return bundles
