"""Tables as spreadsheets and downloads leave them: read where they can be meant in one way, else named."""

import io
from pathlib import Path

import pandas as pd
import pytest

from kernel_src.runtime.csv_table import read_csv

TABLE = pd.DataFrame({"image_id": ["ID1", "ID2", "007"], "GDM_g": [1.5, 20.25, -3.0], "note": ["a,b", 'say "x"', "ü"]})
PLAIN = TABLE.to_csv(index=False)


def written(folder: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path = folder / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def spreadsheet(separator: str) -> str:
    return TABLE.to_csv(index=False, sep=separator, decimal=",")


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (PLAIN, "utf-8"),
        (PLAIN, "utf-8-sig"),
        (PLAIN, "utf-16"),
        (PLAIN, "utf-16-le"),
        (PLAIN, "utf-16-be"),
        (PLAIN, "cp1252"),
        (PLAIN.replace("\n", "\r\n"), "utf-8"),
        (PLAIN.replace("\n", "\r"), "utf-8"),
        (spreadsheet(";"), "utf-8-sig"),
        (spreadsheet("\t"), "utf-16"),
        (spreadsheet("|"), "utf-8"),
        (TABLE.to_csv(index=False, decimal=","), "utf-8"),
        (PLAIN.replace("image_id", "\u200bimage_id"), "utf-8"),
        ("sep=;\r\n" + spreadsheet(";"), "utf-8"),
        ("\n\n" + PLAIN + ",,\n\n", "utf-8"),
        (PLAIN.replace("image_id,GDM_g", " image_id , GDM_g"), "utf-8"),
    ],
)
def test_the_same_table_is_read_however_it_was_saved(tmp_path: Path, content: str, encoding: str) -> None:
    pd.testing.assert_frame_equal(read_csv(written(tmp_path, content, encoding), {"image_id": str}), TABLE)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\n\n", "is empty"),
        (b"PK\x03\x04" + bytes(50), "an Excel workbook"),
        (b"\xd0\xcf\x11\xe0" + bytes(50), "an old Excel workbook"),
        (b"PAR1" + bytes(50), "a Parquet file"),
        (b"\x1f\x8b\x08" + bytes(50), "a gzip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1\n", "a Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"\x93NUMPY\x01", "a NumPy array"),
        (b"a,b\n1,\x002\n" * 200, "is not text"),
        (b"My results\n\na,b\n1,2\n", "is the first line a title or a note"),
        (b'{"cells": []}', "is JSON"),
        (bytes(range(256)) * 4, "is not text"),
        (b"a,b\n1,2,3\n", r"line 2: 3 fields between commas, the heading has 2: decimal commas"),
        (b"a;b\n1,5;2.5\n", r"decimal commas \(1,5\) and decimal points \(2\.5\)"),
        (b"a,a\n1,2\n", "'a' appears twice"),
        (b'a,b\n"1,2\n3,4\n', "unexpected end of data"),
        (b"a,b,c\n1,2,3\n4,5", "ends in the middle of a row: 2 fields of 3 in line 3"),
    ],
)
def test_what_is_no_such_table_is_named_in_one_line(tmp_path: Path, content: bytes, what: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ValueError, match=what) as refused:
        read_csv(path)
    text = str(refused.value)
    assert text.startswith(str(path)) and "\n" not in text and len(text) < 300 + len(str(path))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere.csv does not exist"):
        read_csv(tmp_path / "nowhere.csv")
    with pytest.raises(ValueError, match="cannot be read"):
        read_csv(tmp_path)


def test_numbers_and_texts_are_told_apart_as_pandas_does(tmp_path: Path) -> None:
    text = "a,b,c\n1,x,\n2,y,0.5\n"
    pd.testing.assert_frame_equal(read_csv(written(tmp_path, text)), pd.read_csv(io.StringIO(text)))
