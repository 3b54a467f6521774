"""Tiny folders in the layouts that competitions had: a table of texts, and pictures of noise."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

Row = Sequence[object]


def write_table(path: Path, heading: str, rows: Iterable[Row]) -> None:
    """Write a table; the heading has its columns between commas."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle, lineterminator="\n").writerows([heading.split(","), *rows])


def picture(path: Path, seed: int, side_px: int = 24) -> None:
    """Write a picture that no other seed has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 255, (6, 6, 3)).astype(np.uint8)
    assert cv2.imwrite(str(path), cv2.resize(coarse, (side_px, side_px), interpolation=cv2.INTER_CUBIC))


def pictures(folder: Path, names: Iterable[str], first: int = 0) -> None:
    """Write a picture of each name."""
    for number, name in enumerate(names, first):
        picture(folder / name, number)


def cassava(at: Path) -> None:
    names = [f"{1000 + n}.jpg" for n in range(20)]
    write_table(at / "train.csv", "image_id,label", [(name, n % 5) for n, name in enumerate(names)])
    write_table(at / "sample_submission.csv", "image_id,label", [("2216849948.jpg", 4)])
    pictures(at / "train_images", names)
    pictures(at / "test_images", ["2216849948.jpg"], 100)


def pawpularity(at: Path) -> None:
    names = [f"{n:032x}" for n in range(30)]
    rows = [(name, n % 2, (n // 2) % 2, 1 + 3 * n) for n, name in enumerate(names)]
    write_table(at / "train.csv", "Id,Face,Blur,Pawpularity", rows)
    tests = [f"{n:032x}" for n in range(100, 104)]
    write_table(at / "test.csv", "Id,Face,Blur", [(name, n % 2, 0) for n, name in enumerate(tests)])
    write_table(at / "sample_submission.csv", "Id,Pawpularity", [(name, f"{20.5 + n}") for n, name in enumerate(tests)])
    pictures(at / "train", [f"{name}.jpg" for name in names])
    pictures(at / "test", [f"{name}.jpg" for name in tests], 100)


def aptos(at: Path) -> None:
    names = [f"a{n:02d}.b.{n}" for n in range(25)]  # ids with dots, as APTOS' own have not
    rows = [(name, f"patient {n // 2}", n % 5) for n, name in enumerate(names)]
    write_table(at / "train.csv", "id_code,patient_id,diagnosis", rows)
    write_table(at / "test.csv", "id_code", [("t.1",), ("t.2",)])
    write_table(at / "sample_submission.csv", "id_code,diagnosis", [("t.1", 0), ("t.2", 0)])
    pictures(at / "train_images", [f"{name}.png" for name in names])
    pictures(at / "test_images", ["t.1.png", "t.2.png"], 100)


def happywhale(at: Path) -> None:
    names = [f"{n:03x}whale.jpg" for n in range(40)]
    rows = [(name, "beluga", f"{n // 2 if n < 8 else 100 + n:04x}") for n, name in enumerate(names)]
    write_table(at / "train.csv", "image,species,individual_id", rows)
    five = "0001 0002 0003 006c new_individual"
    write_table(at / "sample_submission.csv", "image,predictions", [("feed.jpg", five)])
    pictures(at / "train_images", names)
    pictures(at / "test_images", ["feed.jpg"], 100)


def individuals(at: Path) -> None:
    names = [f"{n:03x}.jpg" for n in range(40)]
    write_table(at / "train.csv", "image,individual", [(name, f"who{n}") for n, name in enumerate(names)])
    write_table(at / "sample_submission.csv", "image,individual", [("x.jpg", "who1")])
    pictures(at / "train", names)


def plant_words(at: Path) -> None:
    names = [f"{n:03x}.jpg" for n in range(24)]
    words = ("healthy", "scab", "rust", "scab rust")
    write_table(at / "train.csv", "image,labels", [(name, words[n % 4]) for n, name in enumerate(names)])
    write_table(at / "sample_submission.csv", "image,labels", [("85f8cb619c66b863.jpg", "healthy")])
    pictures(at / "train_images", names)
    pictures(at / "test_images", ["85f8cb619c66b863.jpg"], 100)


def plant_columns(at: Path) -> None:
    names = [f"Train_{n}" for n in range(24)]
    write_table(
        at / "train.csv", "image_id,healthy,rust,scab", [(n, *np.eye(3, dtype=int)[i % 3]) for i, n in enumerate(names)]
    )
    write_table(at / "test.csv", "image_id", [("Test_0",), ("Test_1",)])
    write_table(
        at / "sample_submission.csv", "image_id,healthy,rust,scab", [(f"Test_{n}", 0.25, 0.25, 0.5) for n in (0, 1)]
    )
    pictures(at / "images", [f"{name}.jpg" for name in (*names, "Test_0", "Test_1")])


def drivers(at: Path) -> None:
    """Probabilities per class, of a column of words; the classes' folders are in the pictures' paths."""
    rows = [(f"p{n // 4:03d}", f"c{n % 3}", f"img_{n}.jpg") for n in range(24)]
    write_table(at / "driver_imgs_list.csv", "subject,classname,img", rows)
    write_table(at / "sample_submission.csv", "img,c0,c1,c2", [("img_900.jpg", 0.3, 0.3, 0.4)])
    for n, (_, folder, name) in enumerate(rows):
        picture(at / "imgs" / "train" / folder / name, n)
    picture(at / "imgs" / "test" / "img_900.jpg", 900)


def several_numbers(at: Path) -> None:
    rows = [(f"img{n}", 0.5 * n - 3, 0.1 * n) for n in range(20)]
    write_table(at / "train.csv", "id,dx,dy", rows)
    write_table(at / "test.csv", "id", [("img90",), ("img91",)])
    write_table(at / "sample_submission.csv", "id,dx,dy", [("img90", 0, 0), ("img91", 0, 0)])
    pictures(at / "train", [f"img{n}.webp" for n in range(20)])
    pictures(at / "test", ["img90.webp", "img91.webp"], 100)


def melanoma(at: Path) -> None:
    rows = [(f"ISIC_{n}", f"IP_{n // 3}", "male", 40 + n, n % 7 == 0) for n in range(28)]
    write_table(
        at / "train.csv", "image_name,patient_id,sex,age_approx,target", [(*row[:4], int(row[4])) for row in rows]
    )
    tests = [("ISIC_90", "IP_90", "female", 50), ("ISIC_91", "IP_91", "male", 60)]
    write_table(at / "test.csv", "image_name,patient_id,sex,age_approx", tests)
    write_table(at / "sample_submission.csv", "image_name,target", [("ISIC_90", 0.5), ("ISIC_91", 0.5)])
    pictures(at / "jpeg/train", [f"ISIC_{n}.jpg" for n in range(28)])
    pictures(at / "jpeg/test", ["ISIC_90.jpg", "ISIC_91.jpg"], 100)


def several_yes_no(at: Path) -> None:
    rows = [(f"s{n}.png", n % 2, n % 3 == 0, n % 5 == 0) for n in range(30)]
    write_table(at / "train.csv", "file,cloud,road,water", [(row[0], *map(int, row[1:])) for row in rows])
    write_table(at / "sample_submission.csv", "file,cloud,road,water", [("t0.png", 0, 0, 0)])
    pictures(at / "train", [row[0] for row in rows])
    pictures(at / "test", ["t0.png"], 100)


def by_patient(at: Path) -> None:
    """A folder for each patient, and a test's table that names it too."""
    rows = [(f"pat{n // 4}", f"im{n}", n % 4) for n in range(24)]
    write_table(at / "train.csv", "patient,image_id,severity", rows)
    write_table(at / "test.csv", "patient,image_id", [("pat90", "im90"), ("pat91", "im91")])
    write_table(at / "sample_submission.csv", "image_id,severity", [("im90", 0), ("im91", 0)])
    for n, (patient, name, _) in enumerate(rows):
        picture(at / "train_images" / patient / f"{name}.png", n)
    picture(at / "test_images/pat90/im90.png", 90)
    picture(at / "test_images/pat91/im91.png", 91)


def other_headings(at: Path) -> None:
    """The training table and the submission call everything otherwise."""
    write_table(at / "train_labels.csv", "file_name,breed", [(f"d{n}.JPG", ("pug", "corgi")[n % 2]) for n in range(20)])
    write_table(at / "submission_format.csv", "id,answer", [("d90.JPG", "pug"), ("d91.JPG", "pug")])
    pictures(at / "dogs/train", [f"d{n}.JPG" for n in range(20)])
    pictures(at / "dogs/test", ["d90.JPG", "d91.JPG"], 100)


def by_path(at: Path) -> None:
    """The id is a number, a column has the path."""
    rows = [(n, f"train/x{n}.jpg", 1.5 * n) for n in range(20)]
    write_table(at / "train.csv", "id,image_path,weight", rows)
    write_table(at / "test.csv", "id,image_path", [(90, "test/x90.jpg"), (91, "test/x91.jpg")])
    write_table(at / "sample_submission.csv", "id,weight", [(90, 0), (91, 0)])
    pictures(at / "train", [f"x{n}.jpg" for n in range(20)])
    pictures(at / "test", ["x90.jpg", "x91.jpg"], 100)


def class_folders(at: Path) -> None:
    for n in range(12):
        picture(at / "train" / ("cat", "dog")[n % 2] / f"{n}.jpg", n)
    picture(at / "test" / "90.jpg", 90)
    write_table(at / "sample_submission.csv", "id,label", [("90", "cat")])


def long_rows(at: Path) -> None:
    rows = [(f"ID{n}__{t}", f"train/ID{n}.jpg", t, n) for n in range(10) for t in ("a", "b")]
    write_table(at / "train.csv", "sample_id,image_path,target_name,target", rows)
    write_table(at / "test.csv", "sample_id,image_path,target_name", [("ID90__a", "test/ID90.jpg", "a")])
    write_table(at / "sample_submission.csv", "sample_id,target", [("ID90__a", 0), ("ID90__b", 0)])
    pictures(at / "train", [f"ID{n}.jpg" for n in range(10)])
    pictures(at / "test", ["ID90.jpg"], 100)


def long_submission(at: Path) -> None:
    write_table(at / "train.csv", "id,dx,dy", [(f"i{n}", n, -n) for n in range(10)])
    write_table(
        at / "sample_submission.csv", "id_target,value", [(f"i9{n}_{t}", 0) for n in (0, 1) for t in ("dx", "dy")]
    )
    pictures(at / "train", [f"i{n}.jpg" for n in range(10)])
    pictures(at / "test", ["i90.jpg", "i91.jpg"], 100)


def several_rows(at: Path) -> None:
    write_table(at / "train.csv", "image,label", [(f"i{n // 2}.jpg", n % 3) for n in range(20)])
    write_table(at / "sample_submission.csv", "image,label", [("t.jpg", 0)])
    pictures(at / "train", [f"i{n}.jpg" for n in range(10)])
    pictures(at / "test", ["t.jpg"], 100)


def dicom(at: Path) -> None:
    write_table(at / "train.csv", "id,label", [(f"i{n}", n % 2) for n in range(10)])
    write_table(at / "sample_submission.csv", "id,label", [("t", 0)])
    (at / "train").mkdir()
    (at / "train/i0.dcm").write_bytes(b"DICM")
