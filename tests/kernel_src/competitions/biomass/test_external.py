"""The door for other people's pastures, on a miniature of GrassClover's layout."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from kernel_src.competition.splits import fold_numbers
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.external import join_external, read_external
from kernel_src.competitions.biomass.external_table import GRASSCLOVER, ExternalTable
from kernel_src.competitions.biomass.tables import group_labels, read_train
from kernel_src.data.images import read_rgb
from kernel_src.data.training_rows import NEVER_VALIDATED, folds_with_external, training_only

HEADER = "image_file_name;acquisition_year;dry_grass;dry_clover;dry_weeds;dry_total"
ROWS = ("a.jpg;2017;50;30;20;100", "b.jpg;2018;10;0;0;10", "c.jpg;2018;0;40;5;45")
BOM = "\ufeff"


def write_photograph(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(path.suffix, np.random.default_rng(len(path.name)).integers(0, 255, (40, 60, 3), np.uint8))[
        1
    ]
    encoded.tofile(path)


def write_grassclover(
    root: Path, rows: Sequence[str] = ROWS, header: str = HEADER, images: Sequence[str] = ("a.jpg", "b.jpg", "c.jpg")
) -> Path:
    for name in images:
        write_photograph(root / "train" / "images" / name)
    (root / "train").mkdir(parents=True, exist_ok=True)
    (root / "train" / "biomass_train_data.csv").write_text(BOM + "\r\n".join([header, *rows]) + "\r\n", "utf-8")
    return root


def flattened(root: Path) -> Path:
    """Put every file below `root` beside each other, as it arrives from a flat upload, and return their folder."""
    flat = root.with_name(f"{root.name}-flat")
    flat.mkdir()
    for path in [path for path in root.rglob("*") if path.is_file()]:
        path.rename(flat / path.name)
    return flat


def write_competition(root: Path, state: str = "Vic", date: str = "2015/9/4") -> pd.DataFrame:
    lines = ["sample_id,image_path,Sampling_Date,State,Species,Pre_GSHH_NDVI,Height_Ave_cm,target_name,target"]
    for number in range(6):
        visit = f"{date},{state}" if number < 2 else f"2015/10/{number},Tas"
        lines += [f"ID{number}__{t},train/ID{number}.jpg,{visit},Clover,0.5,4,{t},{number}.5" for t in TARGETS]
    root.mkdir(parents=True, exist_ok=True)
    (root / "train.csv").write_text("\n".join(lines) + "\n")
    return read_train(root / "train.csv")


# --- what comes out ---------------------------------------------------------------------------------------------


def test_grassclover_becomes_our_targets_in_grams_per_our_quadrat(tmp_path: Path) -> None:
    rows, report = read_external(write_grassclover(tmp_path), GRASSCLOVER)
    first = rows.iloc[0]
    # 0.84 x (50 grass, 20 weeds, 30 clover, 50 + 30, 100), by hand.
    assert first[list(TARGETS)].tolist() == pytest.approx([42.0, 16.8, 25.2, 67.2, 84.0])
    assert (first["State"], first["Species"], first["Sampling_Date"]) == ("Denmark", "GrassClover", "2017/1/1")
    assert (first["Pre_GSHH_NDVI"], first["Height_Ave_cm"]) == (0.6, 5.0)
    assert (report.rows, report.kept, report.skipped, report.noted) == (3, 3, {}, {})


def test_the_area_factor_can_be_switched_off(tmp_path: Path) -> None:
    rows, report = read_external(write_grassclover(tmp_path), GRASSCLOVER, area_factor=1.0)
    assert rows["Dry_Total_g"].tolist() == [100.0, 10.0, 45.0]
    assert report.area_factor == 1.0
    with pytest.raises(ValueError, match="area_factor 0 is not positive"):
        read_external(tmp_path, GRASSCLOVER, area_factor=0)


def test_the_columns_are_those_of_the_competition_and_one_more(tmp_path: Path) -> None:
    train = write_competition(tmp_path / "competition")
    rows, _ = read_external(write_grassclover(tmp_path / "external"), GRASSCLOVER)
    assert list(rows) == [*train, "external"]
    assert all(rows[column].dtype == train[column].dtype for column in [*TARGETS, "Pre_GSHH_NDVI"])


def test_training_opens_the_photographs_from_the_competitions_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_grassclover(tmp_path / "external")
    monkeypatch.chdir(tmp_path)
    rows, _ = read_external(Path("external"), GRASSCLOVER)
    monkeypatch.chdir("/")
    assert all(read_rgb(Path("/kaggle/input/csiro-biomass") / path).shape == (40, 60, 3) for path in rows["image_path"])


def test_the_folder_of_the_csv_itself_will_do_too_and_links_are_followed(tmp_path: Path) -> None:
    root = write_grassclover(tmp_path / "real")
    photograph = root / "train" / "images" / "a.jpg"
    photograph.rename(tmp_path / "elsewhere.jpg")
    photograph.symlink_to(tmp_path / "elsewhere.jpg")
    assert len(read_external(root / "train", GRASSCLOVER)[0]) == 3


# --- where the photographs lie ----------------------------------------------------------------------------------


def test_photographs_flat_beside_the_csv_make_the_same_table_as_in_images(tmp_path: Path) -> None:
    nested, of_nested = read_external(write_grassclover(tmp_path / "a"), GRASSCLOVER)
    flat, of_flat = read_external(flattened(write_grassclover(tmp_path / "b")), GRASSCLOVER)
    assert of_flat == of_nested
    assert flat.drop(columns="image_path").equals(nested.drop(columns="image_path"))
    assert all(Path(path).parent == tmp_path / "b-flat" and Path(path).is_file() for path in flat["image_path"])


def test_a_photograph_outside_of_a_flat_folder_is_not_read(tmp_path: Path) -> None:
    write_photograph(tmp_path / "secret.jpg")
    flat = flattened(write_grassclover(tmp_path / "b", [*ROWS, "../secret.jpg;2017;50;30;20;100"]))
    assert read_external(flat, GRASSCLOVER)[1].skipped == {"missing image": 1}


def test_names_that_differ_in_their_folder_alone_are_refused_where_they_lie_flat(tmp_path: Path) -> None:
    rows = ["x/a.jpg;2017;50;30;20;100", "y/a.jpg;2018;10;0;0;10", "./x/b.jpg;2018;0;40;5;45", "x/b.jpg;2018;0;40;5;45"]
    images = ("x/a.jpg", "y/a.jpg", "x/b.jpg")
    nested = write_grassclover(tmp_path / "a", rows, images=images)
    report = read_external(nested, GRASSCLOVER)[1]
    assert report.kept == 3 and report.skipped == {"duplicate image": 1}, "one file, spelt in two ways"
    with pytest.raises(ValueError, match="where x/a.jpg and y/a.jpg would be one file: keep the folders"):
        read_external(flattened(nested), GRASSCLOVER)
    only_x = write_grassclover(tmp_path / "b", [rows[0], rows[3]], images=images)
    assert read_external(flattened(only_x), GRASSCLOVER)[1].kept == 2, "a name with its folder is found without it"


def test_separators_at_the_ends_of_lines_do_no_harm(tmp_path: Path) -> None:
    root = write_grassclover(tmp_path, [row + ";" for row in ROWS], HEADER + ";")
    assert read_external(root, GRASSCLOVER)[0]["Dry_Green_g"].tolist() == pytest.approx([42.0, 8.4, 0.0])


# --- identities -------------------------------------------------------------------------------------------------


def test_an_empty_part_is_zero_grams(tmp_path: Path) -> None:
    rows, report = read_external(
        write_grassclover(tmp_path, ["a.jpg;2017;50;;;50", "b.jpg;2018;;40;5;45"]), GRASSCLOVER
    )
    assert rows[["Dry_Green_g", "Dry_Clover_g", "Dry_Dead_g"]].to_numpy() / 0.84 == pytest.approx(
        np.array([[50, 0, 0], [0, 40, 5]])
    )
    assert report.noted == {"with an empty part taken as 0 g": 2}


def test_an_empty_part_that_the_total_contradicts_is_not_taken_for_zero(tmp_path: Path) -> None:
    rows, report = read_external(write_grassclover(tmp_path, ["a.jpg;2017;50;;20;100", ROWS[1]]), GRASSCLOVER)
    assert rows["image_id"].tolist() == ["grassclover-b.jpg"]
    assert report.skipped == {"empty part although the total holds more": 1}


def test_an_empty_total_is_the_sum_of_its_parts_and_not_zero(tmp_path: Path) -> None:
    rows, report = read_external(write_grassclover(tmp_path, ["a.jpg;2017;50;30;20;"]), GRASSCLOVER)
    assert rows["Dry_Total_g"].item() == pytest.approx(84.0)
    assert report.noted == {"with an empty total summed from its parts": 1}


def test_a_total_above_its_parts_is_kept_as_weighed_and_counted(tmp_path: Path) -> None:
    rows, report = read_external(
        write_grassclover(tmp_path, ["a.jpg;2017;50;30;20;112.5", "b.jpg;2018;10;0;0;10.4"]), GRASSCLOVER
    )
    assert (rows["Dry_Total_g"] / 0.84).tolist() == pytest.approx([112.5, 10.4])
    assert (rows["GDM_g"] / 0.84).tolist() == pytest.approx([80, 10])
    assert report.noted == {"with a total over 0.5 g above its parts, kept as given": 1}
    assert report.largest_excess_g == pytest.approx(12.5)


def test_a_total_below_its_parts_is_left_out_beyond_the_tolerance(tmp_path: Path) -> None:
    rows, report = read_external(
        write_grassclover(tmp_path, ["a.jpg;2017;50;30;20;99.4", "b.jpg;2018;10;0;0;9.6"]), GRASSCLOVER
    )
    assert rows["image_id"].tolist() == ["grassclover-b.jpg"]
    assert report.skipped == {"total below its parts": 1}


def test_empty_weights_can_be_a_reason_to_leave_a_row_out(tmp_path: Path) -> None:
    root = write_grassclover(tmp_path, ["a.jpg;2017;50;;;50", ROWS[1]])
    rows, report = read_external(root, replace(GRASSCLOVER, missing_is_zero=False))
    assert rows["image_id"].tolist() == ["grassclover-b.jpg"]
    assert report.skipped == {"empty weight": 1}


# --- rows that are left out -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("z.jpg;2017;50;30;20;100", "missing image"),
        (";2017;50;30;20;100", "missing image"),
        ("../../secret.jpg;2017;50;30;20;100", "missing image"),
        ("broken.jpg;2017;50;30;20;100", "unreadable image"),
        ("cut.jpg;2017;50;30;20;100", "unreadable image"),
        ("empty.jpg;2017;50;30;20;100", "unreadable image"),
        ("a.jpg;2017;;;;", "no weight at all"),
        ("a.jpg;2017;-1;30;20;50", "negative or infinite weight"),
        ("a.jpg;2017;inf;30;20;inf", "negative or infinite weight"),
        ("b.jpg;2018;10;0;0;10", "duplicate image"),
    ],
)
def test_a_row_that_cannot_be_used_is_counted_with_its_reason(tmp_path: Path, row: str, reason: str) -> None:
    root = write_grassclover(tmp_path / "data", [*ROWS[1:], row])
    write_photograph(root / "secret.jpg")
    images = root / "train" / "images"
    (images / "broken.jpg").write_text("<html>404</html>")
    (images / "cut.jpg").write_bytes((images / "a.jpg").read_bytes()[:-200])
    (images / "empty.jpg").write_bytes(b"")
    rows, report = read_external(root, GRASSCLOVER)
    assert rows["image_id"].tolist() == ["grassclover-b.jpg", "grassclover-c.jpg"]
    assert (report.rows, report.kept, report.skipped) == (3, 2, {reason: 1})


def test_an_image_with_two_different_weights_is_not_used_at_all(tmp_path: Path) -> None:
    rows, report = read_external(write_grassclover(tmp_path, [*ROWS, "a.jpg;2017;51;30;20;101"]), GRASSCLOVER)
    assert rows["image_id"].tolist() == ["grassclover-b.jpg", "grassclover-c.jpg"]
    assert report.skipped == {"duplicate image with other weights": 2}


def test_the_report_is_one_line_that_adds_up(tmp_path: Path) -> None:
    bad = ["y.jpg;2017;1;1;1;3", "z.jpg;2017;1;1;1;3", "d.jpg;2017;-1;1;1;1", "e.jpg;2017;5;;;5"]
    root = write_grassclover(tmp_path, [*ROWS, *bad], images=("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"))
    _, report = read_external(root, GRASSCLOVER)
    assert str(report) == (
        "external data grassclover: 4 of 7 rows kept; skipped 2 missing image, 1 negative or infinite weight; "
        "of the kept 1 with an empty part taken as 0 g (totals exceed their parts by up to 0.0 g); grams x 0.84; "
        "mean Dry_Total_g 33.6"  # 0.84 x (100 + 10 + 45 + 5) / 4
    )
    assert report.rows == report.kept + sum(report.skipped.values())


# --- faults of the whole table ----------------------------------------------------------------------------------


def test_missing_columns_are_named_with_those_that_are_there(tmp_path: Path) -> None:
    root = write_grassclover(tmp_path, header=HEADER.replace("dry_weeds", "weeds").replace("image_file_name", "file"))
    message = (
        "columns image_file_name, dry_weeds are missing, it has file, acquisition_year, dry_grass, dry_clover, weeds"
    )
    with pytest.raises(ValueError, match=message):
        read_external(root, GRASSCLOVER)


def test_a_wrong_separator_is_suspected(tmp_path: Path) -> None:
    root = write_grassclover(tmp_path)
    with pytest.raises(ValueError, match="only one column: is ',' the right separator"):
        read_external(root, replace(GRASSCLOVER, separator=","))


def test_rows_longer_than_the_header_are_refused_and_not_cut(tmp_path: Path) -> None:
    for rows in (["a.jpg;2017;50;30;20;100;7"], [ROWS[0], "b.jpg;2018;1;2;3;6;7"]):
        with pytest.raises(ValueError, match="not a table separated by ';'"):
            read_external(write_grassclover(tmp_path, rows), GRASSCLOVER)


def test_an_empty_file_is_no_table(tmp_path: Path) -> None:
    (write_grassclover(tmp_path) / "train" / "biomass_train_data.csv").write_bytes(b"")
    with pytest.raises(ValueError, match="not a table separated by ';'"):
        read_external(tmp_path, GRASSCLOVER)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_another_encoding_is_named_with_its_cure_which_works(tmp_path: Path, encoding: str) -> None:
    csv = write_grassclover(tmp_path) / "train" / "biomass_train_data.csv"
    csv.write_bytes("\n".join([HEADER + ";sted", ROWS[0] + ";Århus"]).encode(encoding))
    with pytest.raises(ValueError, match="is not utf-8-sig .*save it as UTF-8, or state what it is"):
        read_external(tmp_path, GRASSCLOVER)
    assert len(read_external(tmp_path, replace(GRASSCLOVER, encoding=encoding))[0]) == 1
    with pytest.raises(ValueError, match="is not klingon .*unknown encoding"):
        read_external(tmp_path, replace(GRASSCLOVER, encoding="klingon"))


def test_a_decimal_comma_is_refused_with_its_place_until_it_is_stated(tmp_path: Path) -> None:
    root = write_grassclover(tmp_path, [ROWS[0], "b.jpg;2018;10,5;0;0;10,5"])
    with pytest.raises(ValueError, match=r"dry_grass has '10,5' in line 3 \(1 such\); .*dry_total has .*field decimal"):
        read_external(root, GRASSCLOVER)
    assert read_external(root, replace(GRASSCLOVER, decimal=","))[0]["Dry_Green_g"].tolist() == pytest.approx(
        [42, 8.82]
    )


def test_no_image_at_all_says_where_it_looked_and_what_is_there(tmp_path: Path) -> None:
    root = write_grassclover(tmp_path, images=["a.png"])
    train = root / "train"
    with pytest.raises(FileNotFoundError) as caught:
        read_external(root, GRASSCLOVER)
    message = str(caught.value)
    assert f"looked for a.jpg, b.jpg, c.jpg in {train / 'images'} and in {train}." in message
    assert f"{train / 'images'} has: a.png; {train} has: biomass_train_data.csv, images." in message
    assert "Put them into images/ beside the CSV or flat beside it, or upload what `python -m build ext" in message
    with pytest.raises(FileNotFoundError, match="train/photos has: no such folder"):
        read_external(root, replace(GRASSCLOVER, image_folder="photos"))


def test_a_missing_csv_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere or below; there is: no such folder"):
        read_external(tmp_path / "nowhere", GRASSCLOVER)
    with pytest.raises(FileNotFoundError, match="there is: no CSV"):
        read_external(tmp_path, GRASSCLOVER)
    (tmp_path / "train.csv").write_text("x\n")
    with pytest.raises(FileNotFoundError, match=r"no biomass_train_data.csv in .*there is: .*train.csv"):
        read_external(tmp_path, GRASSCLOVER)


def test_two_csvs_of_the_name_are_not_chosen_between(tmp_path: Path) -> None:
    write_grassclover(tmp_path / "one")
    write_grassclover(tmp_path / "two")
    with pytest.raises(ValueError, match="several biomass_train_data.csv .*name the folder"):
        read_external(tmp_path, GRASSCLOVER)


def test_a_table_of_which_no_row_is_left_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no row can be used. .*skipped 1 no weight at all"):
        read_external(write_grassclover(tmp_path, ["a.jpg;2017;;;;"]), GRASSCLOVER)
    with pytest.raises(ValueError, match="no row can be used. .* 0 of 0 rows"):
        read_external(write_grassclover(tmp_path, []), GRASSCLOVER)


# --- any other table --------------------------------------------------------------------------------------------

PADDOCK = ExternalTable(
    name="my-paddock",
    csv="weights.csv",
    image="{No.}.png",
    image_folder=".",
    targets={
        "Dry_Green_g": ("rye", "herbs"),
        "Dry_Dead_g": ("dead",),
        "Dry_Clover_g": ("white", "red"),
        "GDM_g": ("rye", "herbs", "white", "red"),
        "Dry_Total_g": ("rye", "herbs", "white", "red", "dead"),
    },
    metadata={
        "Sampling_Date": "{year}/{month}/{day}",
        "State": "{farm}",
        "Species": "mixed",
        "Pre_GSHH_NDVI": "{ndvi}",
        "Height_Ave_cm": "{height}",
    },
    area_factor=0.5,
)


def test_another_table_comes_in_by_the_same_door(tmp_path: Path) -> None:
    header = "No.,farm,year,month,day,ndvi,height,rye,herbs,white,red,dead"
    (tmp_path / "weights.csv").write_text(f"{header}\n07,Moor,2021,5,3,0.71,12,1,2,3,4,5\n08,,2021,5,3,,9,1,0,0,,0\n")
    for name in ("07.png", "08.png"):
        write_photograph(tmp_path / name)
    rows, report = read_external(tmp_path, PADDOCK)
    assert rows[list(TARGETS)].to_numpy() == pytest.approx(np.array([[3, 5, 7, 10, 15], [1, 0, 0, 1, 1]]) / 2)
    assert rows["image_id"].tolist() == ["my-paddock-07.png", "my-paddock-08.png"]
    assert rows["Sampling_Date"].tolist() == ["2021/5/3", "2021/5/3"]
    assert rows["State"].tolist() == ["Moor", "unknown"]
    assert rows["Pre_GSHH_NDVI"].tolist() == pytest.approx([0.71, np.nan], nan_ok=True)
    assert report.noted == {"with an empty part taken as 0 g": 1}


def test_an_incomplete_description_is_refused_with_every_reason() -> None:
    with pytest.raises(ValueError, match="name is not .*targets lacks .*metadata is not .*area_factor nan is not"):
        replace(PADDOCK, name="ID", targets={"GDM_g": ("rye",)}, metadata={}, area_factor=float("nan"))


# --- never validated --------------------------------------------------------------------------------------------


def test_external_rows_train_in_every_fold_and_are_validated_in_none(tmp_path: Path) -> None:
    train = write_competition(tmp_path / "competition")
    joined = join_external(train, read_external(write_grassclover(tmp_path / "external"), GRASSCLOVER)[0])
    external = training_only(joined)
    assert external.tolist() == [False] * 6 + [True] * 3
    judged = joined[~external]
    fold_of = folds_with_external(fold_numbers("group", group_labels(judged), np.ones(6), 3, 42), external)
    assert set(fold_of[~external]) == {0, 1, 2} and set(fold_of[external]) == {NEVER_VALIDATED}
    for fold in range(3):
        assert not external[fold_of == fold].any()
        assert external[fold_of != fold].sum() == 3
        assert not set(group_labels(joined[fold_of == fold])) & set(group_labels(joined[fold_of != fold]))


def test_external_rows_may_stand_anywhere_in_the_table() -> None:
    external = np.array([True, False, True, False, False])
    assert folds_with_external(np.array([1, 0, 1]), external).tolist() == [-1, 1, -1, 0, 1]


def test_several_external_tables_can_be_joined_but_none_twice(tmp_path: Path) -> None:
    train = write_competition(tmp_path / "competition")
    rows, _ = read_external(write_grassclover(tmp_path / "external"), GRASSCLOVER)
    other, _ = read_external(tmp_path / "external", replace(GRASSCLOVER, name="other"))
    joined = join_external(join_external(train, rows), other)
    assert training_only(joined).sum() == 6 and joined["image_id"].is_unique
    with pytest.raises(ValueError, match="images grassclover-a.jpg, .* are in the competition's data and in the ext"):
        join_external(joined, rows)


def test_a_group_of_the_competition_cannot_come_in_from_outside(tmp_path: Path) -> None:
    train = write_competition(tmp_path / "competition", state="Denmark", date="2017/1/1")
    rows, _ = read_external(write_grassclover(tmp_path / "external"), GRASSCLOVER)
    with pytest.raises(ValueError, match="groups Denmark 2017/1/1 are in the competition's data"):
        join_external(train, rows)


def test_without_external_data_every_row_may_be_validated(tmp_path: Path) -> None:
    assert training_only(write_competition(tmp_path)).tolist() == [False] * 6
