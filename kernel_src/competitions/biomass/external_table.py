"""## External tables

A description says which of other people's columns add up to which of our five targets, and where their photographs lie.
One more table is one more description here.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from kernel_src.competitions.biomass.constants import DATE_COLUMN, STATE_COLUMN, TARGETS

# The metadata of train.csv, in its order; the last two are numbers.
METADATA_COLUMNS = (DATE_COLUMN, STATE_COLUMN, "Species", "Pre_GSHH_NDVI", "Height_Ave_cm")
MEASURED_COLUMNS = METADATA_COLUMNS[-2:]
TEMPLATE_FIELD = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True, kw_only=True)
class ExternalTable:
    """What one external table is made of.

    `image` and the texts in `metadata` are templates: `{column}` stands for what the row has in that column.

    Raises:
        ValueError: a target or a metadata column is not described, or a field is invalid.
    """

    name: str  # begins every image id: lower case, so that it cannot be one of the competition's (ID…)
    csv: str  # file name; it may lie in any folder below the one that is read
    separator: str = ","
    encoding: str = "utf-8-sig"  # UTF-8, with or without a byte order mark
    decimal: str = "."  # what stands before the decimals
    image: str  # file name of the photograph, e.g. "{image_file_name}" or "{id}.jpg"
    image_folder: str  # relative to the CSV; photographs that lie flat beside the CSV, or packed, are found too
    targets: Mapping[str, tuple[str, ...]]  # each of our targets → the columns, in grams, whose sum it is
    metadata: Mapping[str, str | float]  # each of METADATA_COLUMNS → a template or a constant
    missing_is_zero: bool = True  # an empty part weighs 0 g; else a row with an empty weight is left out
    area_factor: float  # our quadrat's area over the area of one of their samples

    def __post_init__(self) -> None:
        """Refuse a description that is incomplete, with every reason."""
        sound = {
            "name is not lower-case letters, digits and hyphens": re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name),
            f"targets lacks columns for some of {', '.join(TARGETS)}": set(self.targets) == set(TARGETS)
            and all(self.targets.values()),
            f"metadata is not {', '.join(METADATA_COLUMNS)}": set(self.metadata) == set(METADATA_COLUMNS),
            f"area_factor {self.area_factor} is not positive": 0 < self.area_factor < math.inf,
        }
        if faults := [fault for fault, passed in sound.items() if not passed]:
            raise ValueError(f"external table {self.name!r}: {'; '.join(faults)}")

    @property
    def weight_columns(self) -> tuple[str, ...]:
        """The columns that hold grams, each once."""
        return tuple({column: None for columns in self.targets.values() for column in columns})

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that the table must have, each once."""
        texts = [self.image, *(value for value in self.metadata.values() if isinstance(value, str))]
        named = {column: None for text in texts for column in TEMPLATE_FIELD.findall(text)}
        return tuple(named | {column: None for column in self.weight_columns})


# The biomass part of Skovsen et al. 2019, "The GrassClover Image Dataset", 261 photographs with the cut below them.
# Columns and folders as github.com/nick-leland/Image2Biomass-Competition reads them (scripts/prepare_external_data.py
# at 06c147b: train/biomass_train_data.csv beside train/images/); the file itself was not at hand when this was written.
GRASSCLOVER = ExternalTable(
    name="grassclover",
    csv="biomass_train_data.csv",
    separator=";",
    image="{image_file_name}",
    image_folder="images",
    targets={
        "Dry_Green_g": ("dry_grass",),
        "Dry_Dead_g": ("dry_weeds",),  # the nearest that it has: neither grass nor clover
        "Dry_Clover_g": ("dry_clover",),
        "GDM_g": ("dry_grass", "dry_clover"),
        "Dry_Total_g": ("dry_total",),
    },
    metadata={
        DATE_COLUMN: "{acquisition_year}/1/1",  # the day is not known
        STATE_COLUMN: "Denmark",
        "Species": "GrassClover",
        "Pre_GSHH_NDVI": 0.6,  # not measured: a usual value
        "Height_Ave_cm": 5.0,  # not measured: a usual value
    },
    area_factor=0.84,  # 0.7 m x 0.3 m here, 0.5 m x 0.5 m there
)
EXTERNAL_TABLES = {table.name: table for table in (GRASSCLOVER,)}


def external_table_for(slug: str) -> ExternalTable:
    """Return the description of the table that a dataset holds: the one whose name its slug contains.

    Raises:
        ValueError: no description, or more than one, has such a name.
    """
    named = [table for name, table in EXTERNAL_TABLES.items() if name in slug]
    if len(named) != 1:
        raise ValueError(
            f"data.external.dataset={slug!r}: the slug must contain the name of one described table, known are "
            f"{', '.join(EXTERNAL_TABLES)}; describe another one in external_table.py"
        )
    return named[0]
