"""## The competition

Everything that belongs to *CSIRO Image2Biomass* and to nothing else: its name, its five targets and their weights,
where its files lie and what a submission must satisfy. The next competition replaces this module.
"""

SLUG = "csiro-biomass"
COMPETITION_TITLE = "CSIRO Image2Biomass"
COMPETITION_URL = "https://www.kaggle.com/competitions/csiro-biomass"

QUADRAT = "quadrat of 70 cm x 30 cm"  # what one photograph shows, from above
DATA_LICENCE = "CC BY-SA 4.0, as stated by public copies of the data set and its paper (arXiv 2510.22916)"

# Every array of predictions has its columns in this order: (images, 5), grams of dry matter per quadrat.
TARGETS = ("Dry_Green_g", "Dry_Dead_g", "Dry_Clover_g", "GDM_g", "Dry_Total_g")
# Weight of each target in the official metric; they add up to 1.
TARGET_WEIGHTS = {"Dry_Green_g": 0.1, "Dry_Dead_g": 0.1, "Dry_Clover_g": 0.1, "GDM_g": 0.2, "Dry_Total_g": 0.5}
# Each sum on the left is weighed as the parts on the right (facts of the field protocol, true to 0.31 g in train.csv).
IDENTITIES = {"GDM_g": ("Dry_Green_g", "Dry_Clover_g"), "Dry_Total_g": ("GDM_g", "Dry_Dead_g")}
COMPONENTS = ("Dry_Green_g", "Dry_Dead_g", "Dry_Clover_g")  # the targets that no identity sums up

# Means over the 357 training photographs in grams (train.csv), with the identities intact: what is submitted where not
# even a bundle's own means can be read.
TRAINING_MEANS_G = {
    "Dry_Green_g": 26.62,
    "Dry_Dead_g": 12.04,
    "Dry_Clover_g": 6.65,
    "GDM_g": 33.27,
    "Dry_Total_g": 45.31,
}
# Rows of train.csv that are wrong, by the rule in row_rules.py that finds them, and why (facts of the competition,
# November 2026: the first from write-ups, where dropping them gave +0.01; the second measured on train.csv).
ROW_RULE_REASONS = {
    "wa_without_green": "the 8 photographs of WA, 2015/8/21, have Green = 0 although they show green grass",
    "broken_identity": "one photograph's Total is 0.31 g less than its parts",
}


# %%
# Kaggle's layout of the data, relative to the competition's mount.
TRAIN_CSV, TEST_CSV, SAMPLE_CSV = "train.csv", "test.csv", "sample_submission.csv"
TRAIN_FOLDER, TEST_FOLDER = "train", "test"
ID_COLUMN, NAME_COLUMN, TARGET_COLUMN = "sample_id", "target_name", "target"
STATE_COLUMN, DATE_COLUMN = "State", "Sampling_Date"
ID_SEPARATOR = "__"  # sample_id is <image_id>__<target name>

# The rules a submission is checked against.
SUBMISSION_FILE = "submission.csv"
IDENTITY_TOLERANCE_G = 0.01  # fp32 sums of numbers printed with six decimals stay far below
LIMIT_S = 9 * 3600  # of one submission run, CPU or GPU
MEMORY_GB = 29.0  # of the session


def sample_id(image_id: str, target: str) -> str:
    """Name one row of the long table, e.g. `ID1011485656__Dry_Clover_g`."""
    return f"{image_id}{ID_SEPARATOR}{target}"
