"""Long and wide tables: nothing is lost on the way, and what is wrong with a file is named."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from build.core.long_tables import long_to_wide, read_test, wide_to_long
from kernel_src.competitions.biomass.constants import TARGETS
from kernel_src.competitions.biomass.tables import group_labels, read_train, target_array

HEADING = "sample_id,image_path,Sampling_Date,State,Species,Pre_GSHH_NDVI,Height_Ave_cm,target_name,target"


def row(image: str, target: str, grams: object = 1.0, name: str | None = None) -> str:
    return f"{name or f'{image}__{target}'},train/{image}.jpg,2015/9/1,Tas,Clover,0.5,4,{target},{grams}"


def write(folder: Path, *rows: str, heading: str = HEADING) -> Path:
    path = folder / "train.csv"
    path.write_text("\n".join([heading, *rows]) + "\n")
    return path


WHOLE = [row(image, target) for image in ("A", "B") for target in TARGETS]


@given(arrays(float, st.tuples(st.integers(1, 6), st.just(5)), elements=st.floats(0, 300)))
def test_wide_to_long_and_back_changes_nothing(grams: np.ndarray) -> None:
    ids = [f"ID{i}" for i in range(len(grams))]
    assert (long_to_wide(wide_to_long(ids, grams), ids) == grams).all()


def test_long_to_wide_follows_the_order_asked_for_not_the_order_stored() -> None:
    long = wide_to_long(["a", "b"], np.arange(10.0).reshape(2, 5))
    assert long["b__Dry_Dead_g"] == 6.0
    backwards = dict(reversed(long.items()))
    assert long_to_wide(backwards, ["b", "a"]).tolist() == [[5, 6, 7, 8, 9], [0, 1, 2, 3, 4]]


def test_long_to_wide_names_a_missing_target_and_a_malformed_id() -> None:
    long = wide_to_long(["a"], np.ones((1, 5)))
    with pytest.raises(KeyError, match="b__Dry_Green_g"):
        long_to_wide(long, ["b"])
    with pytest.raises(ValueError, match="nonsense"):
        long_to_wide(long | {"nonsense": 1.0}, ["a"])


def test_the_wide_table_holds_what_the_long_file_says(tiny_competition: Path) -> None:
    train = read_train(tiny_competition / "train.csv")
    lines = [line.split(",") for line in (tiny_competition / "train.csv").read_text().splitlines()[1:]]
    assert len(train) == 20 and list(train["image_id"]) == list(dict.fromkeys(x[0].split("__")[0] for x in lines))
    of = {(line[0].split("__")[0], line[7]): float(line[8]) for line in lines}
    expected = [[of[image, target] for target in TARGETS] for image in train["image_id"]]
    assert target_array(train).tolist() == expected
    assert list(train["image_path"]) == [f"train/{image}.jpg" for image in train["image_id"]]
    assert len(set(group_labels(train))) == 7 and group_labels(train)[0] == "Tas 2015/5/4"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (WHOLE[:-1], "image B lacks a target"),
        ([*WHOLE, WHOLE[7]], r"B__Dry_Clover_g appears twice"),
        ([*WHOLE[:-1], row("B", "Dry_Total_g", "")], "image B lacks a target"),
        ([*WHOLE[:-1], row("B", "Dry_Total_g", "NaN")], "image B lacks a target"),
        ([*WHOLE[:-1], row("B", "Dry_Total_g", "inf")], "image B .*not finite"),
        ([*WHOLE[:-1], row("B", "Dry_Total_g", -0.1)], "image B .*negative"),
        ([*WHOLE[:-1], row("B", "Dry_Total_g", "many")], "image B .*not finite"),
        ([*WHOLE, row("C", "Dry_Moss_g")], "unknown targets Dry_Moss_g; known are Dry_Green_g"),
        ([*WHOLE, row("C", "Dry_Moss_g"), row("C", "")], "unknown targets Dry_Moss_g, nan"),
        ([*WHOLE, row("C", "GDM_g", name="C__Dry_Dead_g")], "'C__Dry_Dead_g' does not end in its target GDM_g"),
        ([*WHOLE, row("C", "GDM_g", name="C")], "'C' does not end in its target"),
        ([], "has a heading and no rows"),
    ],
)
def test_a_faulty_training_table_is_refused_by_file_and_image(tmp_path: Path, rows: list[str], message: str) -> None:
    path = write(tmp_path, *rows)
    with pytest.raises(ValueError, match=f"^{path}.*{message}"):
        read_train(path)


def test_missing_columns_an_empty_and_a_missing_file_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, "1,2", heading="sample_id,target")
    with pytest.raises(ValueError, match="image_path, target_name, State, Sampling_Date are missing, it has sample_id"):
        read_train(path)
    path.write_text("")
    with pytest.raises(ValueError, match=f"{path} is empty"):
        read_train(path)
    with pytest.raises(FileNotFoundError, match="other.csv does not exist: is the competition's data complete"):
        read_test(tmp_path / "other.csv")


def test_the_test_table_has_one_row_per_image_in_the_files_order(tiny_competition: Path) -> None:
    test = read_test(tiny_competition / "test.csv")
    assert test.to_dict("list") == {
        "image_id": ["ID9000", "ID9011", "ID9022"],
        "image_path": ["test/ID9000.jpg", "test/ID9011.jpg", "test/ID9022.jpg"],
    }
