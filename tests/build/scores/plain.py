"""Out-of-fold files of two plain competitions, made up: ten classes by accuracy, one number by RMSE."""

from pathlib import Path

import numpy as np
import pandas as pd

from kernel_src.competitions.held_facts import facts


def classes(images: int = 240, seed: int = 0) -> np.ndarray:
    """The true class of each image, (images,): every one of the ten occurs."""
    return np.random.default_rng(seed).permutation(np.arange(images) % 10)


def one_hot(numbers: np.ndarray) -> np.ndarray:
    return np.eye(10)[numbers]


def probabilities(true: np.ndarray, seed: int, skill: float = 2.0) -> np.ndarray:
    """What a model makes of them: a softmax of noise, higher for the true class."""
    logits = np.random.default_rng(seed).normal(size=(len(true), 10)) + skill * one_hot(true)
    shares = np.exp(logits)
    return shares / shares.sum(1, keepdims=True)


def leaf_train(folder: Path, true: np.ndarray) -> Path:
    ids = [f"{1000 + i}.jpg" for i in range(len(true))]
    pd.DataFrame({"image_id": ids, "label": true}).to_csv(folder / "train.csv", index=False)
    return folder / "train.csv"


def leaf_file(path: Path, predicted: np.ndarray, folds: np.ndarray | None = None) -> str:
    table = pd.DataFrame(predicted, columns=list(facts("leaf").targets))
    table.insert(0, "image_id", [str(1000 + i) for i in range(len(table))])
    if folds is not None:
        table.insert(1, "fold", folds)
    table.to_csv(path, index=False)
    return str(path)


def numbers(images: int = 240, seed: int = 0) -> np.ndarray:
    """The truth of the other, (images,): 1 to 100, whole."""
    return np.clip(np.random.default_rng(seed).normal(38, 20, images).round(), 1, 100)


def paws_train(folder: Path, truth: np.ndarray) -> Path:
    random = np.random.default_rng(1)
    table = pd.DataFrame({"Id": [f"p{i:04d}" for i in range(len(truth))]})
    for column in facts("paws").inputs:
        table[column] = random.integers(0, 2, len(truth))
    table.assign(Pawpularity=truth.astype(int)).to_csv(folder / "train.csv", index=False)
    return folder / "train.csv"


def paws_file(path: Path, predicted: np.ndarray, heading: str = "Pawpularity", fold: bool = True) -> str:
    table = pd.DataFrame({"Id": [f"p{i:04d}" for i in range(len(predicted))], heading: predicted})
    (table.assign(fold=np.arange(len(table)) % 5) if fold else table).to_csv(path, index=False)
    return str(path)
