"""One visit stays one, however its state and date were typed; what cannot be told is refused with the values."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_src.competition.splits import fold_numbers
from kernel_src.competitions.biomass.tables import group_labels, read_train
from kernel_src.competitions.biomass.visits import tidy_visits, visit_readings
from tests.build.scores.painted import truth, write_train

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "train.csv"
needs_real = pytest.mark.skipif(not REAL.is_file(), reason="no real train.csv at ../shared: never committed")


def tidied(dates: list[object], states: list[object] | None = None) -> list[str]:
    table = pd.DataFrame({"State": states or ["Tas"] * len(dates), "Sampling_Date": dates})
    return group_labels(tidy_visits(table, "train.csv")).tolist()


@pytest.mark.parametrize(
    "written",
    ["2015/9/4", "2015-09-04", " 2015/09/04 ", "2015.9.4", "20150904", "2015-09-04 00:00:00", "2015-09-04T00:00:00Z"]
    + ["2015/9/4\u200b", "\ufeff2015/9/4", "2015\u201309\u201304", "2015-09-04T00:00:00+10:00", "4 Sept 2015"]
    + ["4 Sep 2015", "04-Sep-2015", "Sep 4, 2015", "September 4 2015", "2015/9/4\u00a0", "\uff12015/9/4"],
)
def test_a_date_is_the_same_however_it_is_written(written: str) -> None:
    assert tidied(["2015/9/4", written]) == ["Tas 2015/9/4"] * 2


def test_the_other_dates_show_whether_the_day_comes_first() -> None:
    assert tidied(["04/09/2015", "28/09/2015"]) == ["Tas 2015/9/4", "Tas 2015/9/28"]
    assert tidied(["04/09/2015", "09/28/2015"]) == ["Tas 2015/4/9", "Tas 2015/9/28"]
    assert tidied(["05.05.2015"]) == ["Tas 2015/5/5"], "the same either way"


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        (["04/09/2015", "05/09/2015"], r"'04/09/2015', '05/09/2015', and nothing says whether the day or the month"),
        (["28/09/2015", "09/28/2015"], "has 28/09/2015 and 09/28/2015, once the day first and once the month"),
        (["2015/9/4", None, ""], r"missing in 2 of 3 rows, the first is row 2"),
        (["2015/9/4", "  "], "missing in 1 of 2 rows"),
        (["2015/9/4", "spring"], "has 'spring', which is not a date"),
        (["2015/9/31"], "has '2015/9/31', which is not a date"),
        (["42251"], "has '42251', which is not a date"),
        (["42251"], "which is not a date that can be read, the number of a day in a spreadsheet"),
        (["4/9/15"], "has '4/9/15', which is not a date"),
        (["Septober 4 2015"], "has 'Septober 4 2015', which is not a date"),
        (["2015/9/4", "NA", "-", "None", "\u200b"], r"missing in 4 of 5 rows, the first is row 2"),
        (["2015/9/4", "2015-09-03T14:00:00Z"], "of different time zones: which day is meant cannot be told"),
        (["2015-09-03T14:00:00Z", "2015-09-04T00:30:00+10:00"], "of different time zones"),
        (["x" * 5000], r"has 'x{70,80}…, which is not a date"),
        (["a", "b", "c", "d", "e"], "has 'a', 'b', 'c' and 2 more"),
    ],
)
def test_a_date_that_cannot_be_told_is_refused_with_the_values(dates: list[object], message: str) -> None:
    with pytest.raises(ValueError, match=f"train.csv: Sampling_Date.*{message}"):
        tidied(dates)


def test_blanks_and_capitals_make_no_second_state() -> None:
    states = ["Tas", "Tas ", "\u00a0Tas", "TAS", "New  South Wales", "New South Wales"]
    found = tidied(["2015/9/4"] * 6, states)
    assert found == ["Tas 2015/9/4"] * 4 + ["New South Wales 2015/9/4"] * 2


@pytest.mark.parametrize("written", ["NSW", "nsw", "N.S.W.", "NSW\u200b", "\ufeffNSW", "New South Wales", "NSW\u00ad"])
def test_a_state_is_the_same_however_it_is_written(written: str) -> None:
    assert tidied(["2015/9/4"] * 3, ["NSW", written, "NSW"]) == ["NSW 2015/9/4"] * 3


@pytest.mark.parametrize("nothing", [np.nan, None, "", " ", "-", "?", "NA", "nan", "None", "unknown", "\u200b"])
def test_a_missing_state_is_refused(nothing: object) -> None:
    with pytest.raises(ValueError, match="State is missing in 1 of 2 rows, the first is row 2"):
        tidied(["2015/9/4"] * 2, ["Tas", nothing])


@given(st.dates())
def test_dates_with_the_year_first_come_back_as_they_are(day) -> None:
    if day.year >= 1000:
        assert tidied([day.isoformat()]) == [f"Tas {day.year}/{day.month}/{day.day}"]


@needs_real
@pytest.mark.parametrize("fault", ["blanks", "notations", "both"])
def test_the_30_real_visits_stay_30(tmp_path: Path, fault: str) -> None:
    table = pd.read_csv(REAL)
    random = np.random.default_rng(0)
    if fault != "notations":
        some = random.random(len(table)) < 0.5
        table.loc[some, "State"] = table.loc[some, "State"] + " "
    if fault != "blanks":
        image = table["sample_id"].str.rsplit("__", n=1).str[0]
        some = image.isin(random.choice(image.unique(), 150, replace=False))
        table.loc[some, "Sampling_Date"] = pd.to_datetime(table.loc[some, "Sampling_Date"]).dt.strftime("%d/%m/%Y")
    table.to_csv(tmp_path / "train.csv", index=False)
    assert group_labels(read_train(tmp_path / "train.csv")).tolist() == group_labels(read_train(REAL)).tolist()
    assert len(set(group_labels(read_train(REAL)))) == 30


@needs_real
def test_an_image_with_two_dates_is_named(tmp_path: Path) -> None:
    table = pd.read_csv(REAL)
    table.loc[0, "Sampling_Date"] = "2015/1/1"
    table.to_csv(tmp_path / "train.csv", index=False)
    with pytest.raises(ValueError, match=f"image {table['sample_id'][0].split('__')[0]} has several states or dates"):
        read_train(tmp_path / "train.csv")


def test_a_visit_is_the_same_in_two_tables_however_each_was_written() -> None:
    def readings(state: str, when: str) -> set[str]:
        return set(visit_readings(pd.DataFrame({"State": [state], "Sampling_Date": [when]})))

    own = readings("Tas", "2015/9/4")
    assert all(own & readings(state, when) for state in ("TAS ", "Tasmania") for when in ("2015-09-04", "04/09/2015"))
    assert not own & readings("Tas", "unknown") and not own & readings("Vic", "2015/9/4")


@pytest.mark.parametrize("split", ["group", "stratified_group", "leave_group_out"])
def test_no_visit_lies_in_two_folds_of_the_trainings_own_split(split: str, tmp_path: Path) -> None:
    table = truth(groups=8, size=6)
    odd = np.arange(len(table)) % 2 == 0
    table.loc[odd, "State"] = table["State"].str.upper() + " \u200b"
    table.loc[odd, "Sampling_Date"] = pd.to_datetime(table["Sampling_Date"]).dt.strftime("%Y-%m-%d")
    train = read_train(write_train(tmp_path / "train.csv", table))
    groups = group_labels(train)
    folds = fold_numbers(split, groups, train["Dry_Total_g"].to_numpy(), 3, 0)
    assert len(set(groups)) == 8 and len(set(zip(groups, folds, strict=True))) == 8
