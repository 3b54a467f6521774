"""## External data

Other people's pastures, weighed in other columns. They are converted to our table, our grams and our quadrat, and every
row that is left out is counted. Such rows are only trained on: no fold validates on them.
"""

import os
import posixpath
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from kernel_src.competition.facts import IMAGE_COLUMN
from kernel_src.competitions.biomass.constants import IDENTITIES, TARGETS
from kernel_src.competitions.biomass.external_table import (
    MEASURED_COLUMNS,
    METADATA_COLUMNS,
    TEMPLATE_FIELD,
    ExternalTable,
    external_table_for,
)
from kernel_src.competitions.biomass.visits import visit_readings
from kernel_src.data.packed_photographs import packs_in, unpack_photographs
from kernel_src.data.training_rows import EXTERNAL_COLUMN, training_only
from kernel_src.recipes.experiment import Experiment
from kernel_src.runtime.mounts import find_dataset
from kernel_src.runtime.parts import OptionalPart

# How far a total may lie from the sum of its parts, in grams of the source: four weights rounded to 0.1 g stay below.
TOTAL_TOLERANCE_G = 0.5
EXTERNAL_NAMES_SHOWN = 5  # in a message


@dataclass(frozen=True, kw_only=True)
class ExternalReport:
    """What became of the rows of an external table; `str()` of it is one readable line."""

    name: str
    rows: int  # in the CSV
    kept: int
    skipped: Mapping[str, int]  # why a row is left out → how many
    noted: Mapping[str, int]  # what was done in rows that are kept → in how many; a row may count in several
    largest_excess_g: float  # of a kept total over the sum of its parts, in grams of the source
    area_factor: float
    mean_g: Mapping[str, float]  # of each target over the kept rows, in grams per our quadrat

    def __str__(self) -> str:
        """Return the report as one line."""
        skipped, noted = (
            ", ".join(f"{count} {what}" for what, count in counts.items()) for counts in (self.skipped, self.noted)
        )
        return (
            f"external data {self.name}: {self.kept} of {self.rows} rows kept; skipped {skipped or 'none'}; "
            f"of the kept {noted or 'all complete'} (totals exceed their parts by up to "
            f"{self.largest_excess_g:.1f} g); grams x {self.area_factor:g}"
            + "".join(f"; mean {target} {mean:.1f}" for target, mean in [*self.mean_g.items()][-1:])
        )


# %%
def _first_names(names: Sequence[object]) -> str:
    """List the first few names, and how many more there are."""
    more = len(names) - EXTERNAL_NAMES_SHOWN
    return ", ".join(map(str, names[:EXTERNAL_NAMES_SHOWN])) + (f" and {more} more" if more > 0 else "")


def find_external_csv(folder: Path, table: ExternalTable) -> Path:
    """Find the table's CSV in the folder, else below it, where archives tend to put it.

    Raises:
        FileNotFoundError: it is not there; the message says what is.
        ValueError: there are several.
    """
    if (folder / table.csv).is_file():
        return folder / table.csv
    found = sorted(folder.rglob(table.csv))
    if len(found) > 1:
        raise ValueError(f"{folder} has several {table.csv} ({_first_names(found)}): name the folder of the one meant")
    if not found:
        there = _first_names(sorted(folder.rglob("*.csv"))) or ("no CSV" if folder.is_dir() else "no such folder")
        raise FileNotFoundError(
            f"no {table.csv} in {folder} or below; there is: {there}. Unpack or attach {table.name} there"
        )
    return found[0]


def read_external_texts(path: Path, table: ExternalTable) -> pd.DataFrame:
    """Read the CSV as texts (empty: NaN) and make sure that it has the columns.

    Raises:
        ValueError: encoding, separator or columns are off.
    """
    try:
        with warnings.catch_warnings():
            # Rows longer than the header would lose their last values with no more than a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            texts = pd.read_csv(path, sep=table.separator, encoding=table.encoding, dtype=str, index_col=False)
    except (UnicodeError, LookupError) as error:
        raise ValueError(
            f"{path} is not {table.encoding} ({error}): save it as UTF-8, or state what it is, "
            'replace(table, encoding="cp1252") for one from Excel on Windows'
        ) from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise ValueError(
            f"{path} is not a table separated by {table.separator!r} ({str(error).strip()}): check the field separator"
        ) from None
    if missing := [column for column in table.columns if column not in texts]:
        hint = f"; only one column: is {table.separator!r} the right separator?" if texts.shape[1] == 1 else ""
        raise ValueError(f"{path}: columns {', '.join(missing)} are missing, it has {', '.join(map(str, texts))}{hint}")
    return texts


def _read_weights(path: Path, texts: pd.DataFrame, table: ExternalTable) -> pd.DataFrame:
    """Turn the columns of grams into numbers; empty stays NaN."""
    weights, faults = {}, []
    for column in table.weight_columns:
        plain = texts[column].str.strip().replace("", np.nan)
        weights[column] = pd.to_numeric(plain.str.replace(table.decimal, ".", regex=False), errors="coerce")
        if (bad := weights[column].isna() & plain.notna()).any():
            line = int(np.flatnonzero(bad)[0]) + 2  # the header is line 1
            faults.append(f"{column} has {plain[bad].iloc[0]!r} in line {line} ({int(bad.sum())} such)")
    if faults:
        raise ValueError(
            f"{path}: not numbers with {table.decimal!r} before the decimals: {'; '.join(faults)}: "
            "correct them or the field decimal"
        )
    return pd.DataFrame(weights, index=texts.index)


def _fill_in(texts: pd.DataFrame, template: str | float) -> list[str]:
    """Fill a template in for each row; a column that the row leaves empty reads `unknown`."""
    filled = []
    for row in texts.fillna("unknown").to_dict("records"):
        # Not str.format, which would take the dot in a column's name for an attribute.
        pieces = TEMPLATE_FIELD.split(str(template))  # text, column, text, column, …, text
        pieces[1::2] = [str(row[column]) for column in pieces[1::2]]
        filled.append("".join(pieces).strip())
    return filled


# %%
def photograph_names(texts: pd.DataFrame, table: ExternalTable) -> list[str]:
    """Name the photograph of each row as the table does, with `/` between folders; empty where it names none."""
    names = [name.replace("\\", "/") for name in _fill_in(texts, table.image)]
    return [posixpath.normpath(name) if name else "" for name in names]


def find_photographs(path: Path, table: ExternalTable, names: Sequence[str]) -> tuple[Path, list[Path]]:
    """Return the folder with the photographs of a CSV, and where each name leads: a file in it, or no file.

    They lie packed beside the CSV, in the table's image folder, or flat beside the CSV, where an upload without its
    folders leaves them: the first place that has any of them counts.

    Raises:
        FileNotFoundError: none is there; the message says where it was looked, and what is there instead.
        ValueError: flat, names of different folders would be one file.
    """
    beside, flat = path.parent, [posixpath.basename(name) for name in names]
    packs = packs_in(beside)
    places = [(unpack_photographs(packs), names)] if packs else []
    places += [(beside / table.image_folder, names), (beside, flat)]
    for folder, inside in places:
        root = Path(os.path.abspath(folder))
        photographs = [Path(os.path.abspath(root / name)) for name in inside]  # not resolve: links are welcome
        if not names or any(photograph.is_relative_to(root) and photograph.is_file() for photograph in photographs):
            if inside is flat:
                _refuse_one_file_for_two(path, names)
            return root, photographs
    looked = dict.fromkeys(os.path.abspath(folder) for folder, _ in places)
    there = "; ".join(f"{folder} has: {_what_is_in(Path(folder))}" for folder in looked)
    raise FileNotFoundError(
        f"no image of {path} found: looked for {_first_names(names)} in {' and in '.join(looked)}. {there}. "
        f"Put them into {table.image_folder}/ beside the CSV or flat beside it, or upload what "
        "`python -m build external` makes"
    )


def _what_is_in(folder: Path) -> str:
    if not folder.is_dir():
        return "no such folder"
    return _first_names(sorted(entry.name for entry in folder.iterdir())) or "nothing"


def _refuse_one_file_for_two(path: Path, names: Sequence[str]) -> None:
    """Refuse a flat folder for a table that names photographs alike in different folders."""
    named: dict[str, set[str]] = {}
    for name in names:
        named.setdefault(posixpath.basename(name), set()).add(name)
    if alike := [" and ".join(sorted(full)) for full in named.values() if len(full) > 1]:
        raise ValueError(
            f"{path}: the photographs lie beside it without their folders, where {_first_names(alike)} would be one "
            "file: keep the folders, or pack them (`python -m build external`)"
        )


def _image_fault(path: Path, folder: Path) -> str:
    """Return why a photograph cannot be used; empty if it can."""
    if not path.is_relative_to(folder) or not path.is_file():
        return "missing image"
    data = np.fromfile(path, np.uint8)
    # An eighth of the size is decoded: it meets the same faults, a cut-off file among them, in less than half the time.
    if not data.size or cv2.imdecode(data, cv2.IMREAD_REDUCED_GRAYSCALE_8) is None:
        return "unreadable image"
    return ""


# %%
def _grams_with_faults(weights: pd.DataFrame, table: ExternalTable) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Add the weights up to our targets, and name what is wrong with each row.

    A total that was weighed is kept as given, also where it is more than its parts: something was not sorted. A total
    below its parts is a fault, and so is an empty part where the total holds more than the others. An empty total is
    the sum of its parts, never 0.

    Returns the five targets, `excess_g` (all in grams of the source) and `fault`; and what was done in which row.
    """
    parts = [target for target in TARGETS if target not in IDENTITIES]
    part_columns = [column for target in parts for column in table.targets[target]]
    total_columns = [column for column in weights if column not in part_columns]
    empty = weights.isna()
    grams = pd.DataFrame({target: weights[list(table.targets[target])].sum(axis=1, min_count=1) for target in TARGETS})
    grams[parts] = grams[parts].fillna(0.0)
    excess = pd.DataFrame(index=grams.index)
    for total, summands in IDENTITIES.items():  # GDM before Total, which is made of it
        summed = grams[list(summands)].sum(axis=1)
        grams[total] = grams[total].fillna(summed)
        excess[total] = grams[total] - summed
    zero_filled, most = empty[part_columns].any(axis=1), excess.max(axis=1)
    fault = pd.Series("", weights.index, dtype=object)
    for reason, hit in {  # of several the last is named
        "empty part although the total holds more": zero_filled & (most > TOTAL_TOLERANCE_G),
        "total below its parts": excess.min(axis=1) < -TOTAL_TOLERANCE_G,
        "empty weight": empty.any(axis=1) & (not table.missing_is_zero),
        "negative or infinite weight": ((weights < 0) | np.isinf(weights)).any(axis=1),
        "no weight at all": empty.all(axis=1),
    }.items():
        fault[hit] = reason
    done = pd.DataFrame(
        {
            "an empty part taken as 0 g": zero_filled,
            "an empty total summed from its parts": empty[total_columns].any(axis=1),
            f"a total over {TOTAL_TOLERANCE_G} g above its parts, kept as given": most > TOTAL_TOLERANCE_G,
        }
    )
    return grams.assign(fault=fault, excess_g=most), done


def _mark_duplicates(wide: pd.DataFrame, fault: pd.Series) -> None:
    """Leave out what repeats an image; where the weights differ, it is not clear which are right, and none is kept."""
    sound = wide[fault == ""]
    by_image = sound.groupby("image_id")[list(TARGETS)]
    contradicting = (by_image.transform("nunique") > 1).any(axis=1)
    fault.loc[sound.index[sound.duplicated("image_id")]] = "duplicate image"
    fault.loc[sound.index[contradicting]] = "duplicate image with other weights"


# %%
def read_external(
    folder: Path, table: ExternalTable, area_factor: float | None = None
) -> tuple[pd.DataFrame, ExternalReport]:
    """Read an external table as `read_train` reads the competition's, with a report of what was left out and why.

    Columns: those of `read_train`, the targets in grams per *our* quadrat (times `area_factor`, the table's own unless
    given), and `external`, True in every row. `image_path` is absolute, so that `competition / image_path` opens it;
    `image_id` is the file name behind the table's name. Every photograph is decoded once, so none fails in training.

    Raises:
        FileNotFoundError: the folder, the CSV or all of its photographs are not there; the message says what is.
        ValueError: encoding, separator, columns, numbers or names of photographs are off, or no row is left.
    """
    table = table if area_factor is None else replace(table, area_factor=area_factor)
    path = find_external_csv(folder, table)
    texts = read_external_texts(path, table)
    grams, done = _grams_with_faults(_read_weights(path, texts, table), table)

    names = photograph_names(texts, table)
    images, photographs = find_photographs(path, table, names)
    fault = pd.Series([_image_fault(photograph, images) for photograph in photographs], texts.index, dtype=object)
    fault = fault.where(fault != "", grams["fault"])

    wide = pd.DataFrame({IMAGE_COLUMN: [str(photograph) for photograph in photographs]}, index=texts.index)
    for column in METADATA_COLUMNS:
        filled = pd.Series(_fill_in(texts, table.metadata[column]), texts.index, dtype=object)
        wide[column] = pd.to_numeric(filled, errors="coerce") if column in MEASURED_COLUMNS else filled
    wide["image_id"] = [f"{table.name}-{name.replace('/', '-')}" for name in names]
    wide[list(TARGETS)] = grams[list(TARGETS)] * table.area_factor
    wide[EXTERNAL_COLUMN] = True
    _mark_duplicates(wide, fault)

    kept = fault == ""
    report = ExternalReport(
        name=table.name,
        rows=len(texts),
        kept=int(kept.sum()),
        skipped=dict(Counter(fault[~kept]).most_common()),
        noted={f"with {what}": int(count) for what, count in done[kept].sum().items() if count},
        largest_excess_g=max(0.0, float(grams["excess_g"][kept].max())) if kept.any() else 0.0,
        area_factor=table.area_factor,
        mean_g={target: float(wide.loc[kept, target].mean()) for target in TARGETS} if kept.any() else {},
    )
    if not report.kept:
        raise ValueError(f"{path}: no row can be used. {report}")
    return wide[kept].reset_index(drop=True), report


# %%
def find_external(slug: str) -> Path:
    """Return the folder of the attached dataset of external photographs.

    Raises:
        FileNotFoundError: it is not attached.
        ValueError: no table is described for it.
    """
    return find_dataset(slug, external_table_for(slug).csv)


def with_external(experiment: Experiment, rows: pd.DataFrame, folder: Path | None) -> pd.DataFrame:
    """Append the experiment's external data to the competition's rows.

    Raises:
        ValueError: it is not attached, or cannot be used.
    """
    spec = experiment.data.external
    if spec is None:
        return rows
    if folder is None:
        raise ValueError(f"{experiment.name} trains on external data: attach the dataset {spec.dataset}")
    external, report = read_external(folder, external_table_for(spec.dataset), spec.area_factor)
    print(report)
    return join_external(rows, external)


def join_external(train: pd.DataFrame, external: pd.DataFrame) -> pd.DataFrame:
    """Append external rows to the competition's, told apart by the column `external`.

    The contract: rows with `external` are trained on in every fold and validated in none, neither for the score nor
    for early stopping. Only the others may go to `fold_numbers`; `folds_with_external` puts the numbers in place.
    One group is then never on both sides, because no group is external and the competition's at once.

    Raises:
        ValueError: an image or a group (State and Sampling_Date) is on both sides.
    """
    judged = train if EXTERNAL_COLUMN in train else train.assign(**{EXTERNAL_COLUMN: False})
    if shared := sorted(set(judged["image_id"]) & set(external["image_id"])):
        raise ValueError(f"images {_first_names(shared)} are in the competition's data and in the external")
    own, others = visit_readings(judged[~training_only(judged)]), visit_readings(external)
    if shared := sorted({own[reading] for reading in own.keys() & others.keys()}):
        raise ValueError(
            f"groups {_first_names(shared)} are in the competition's data and in the external: training on a visit "
            "that is validated makes the score too good; leave the external rows of these groups out"
        )
    return pd.concat([judged, external.assign(**{EXTERNAL_COLUMN: True})], ignore_index=True)


class ExternalParts(OptionalPart):
    """What a training with external data needs."""

    part = "external"
    find_external = staticmethod(find_external)
    with_external = staticmethod(with_external)
    # What makes the dataset on one's own machine reads by the same.
    external_table_for = staticmethod(external_table_for)
    find_external_csv = staticmethod(find_external_csv)
    find_photographs = staticmethod(find_photographs)
    photograph_names = staticmethod(photograph_names)
    read_external = staticmethod(read_external)
    read_external_texts = staticmethod(read_external_texts)
