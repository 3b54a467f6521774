"""A file that somebody else's code left is read if it is a plain one, and not a byte of it otherwise."""

import os
import socket
from pathlib import Path

import pytest

from build.core.submission_file import LARGEST_SUBMISSION, submission_problems
from build.core.untrusted import read_foreign_file

SECRET = "secret-key-71c9"


def plant(kind: str, folder: Path) -> Path:
    """Put something odd where a submission is expected; the credentials lie beside it."""
    credentials, place = folder / "kaggle.json", folder / "submission.csv"
    credentials.write_text(f"{SECRET},{SECRET}\n")
    if kind == "link":
        place.symlink_to(credentials)
    elif kind == "link to nothing":
        place.symlink_to(folder / "nowhere")
    elif kind == "link to itself":
        place.symlink_to(place)
    elif kind == "hard link":
        os.link(credentials, place)
    elif kind == "folder":
        (place / "x").mkdir(parents=True)
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(place))
    elif kind == "device":
        if os.geteuid() != 0:
            pytest.skip("only root can make a device")
        os.mknod(place, 0o20666, os.makedev(1, 5))
    elif kind == "huge":
        with place.open("wb") as handle:
            handle.truncate(1 << 40)
    elif kind == "one endless field":
        place.write_text('"' + SECRET * 100_000)
    return place


KINDS = ("link", "link to nothing", "link to itself", "hard link", "folder", "pipe", "socket", "device", "huge")


@pytest.mark.parametrize("kind", [*KINDS, "one endless field"])
def test_a_submission_that_is_no_plain_file_is_refused_and_nothing_of_it_is_shown(kind: str, tmp_path: Path) -> None:
    place = plant(kind, tmp_path)
    (problem,) = submission_problems(place, ["ID1__Dry_Green_g"])
    assert "nothing of it is shown" in problem and SECRET not in problem


@pytest.mark.parametrize("kind", KINDS)
def test_only_plain_files_up_to_a_size_are_read(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        read_foreign_file(plant(kind, tmp_path), LARGEST_SUBMISSION)


def test_what_is_not_there_is_missing_also_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "none", tmp_path / "file" / "x"):
        with pytest.raises(FileNotFoundError):
            read_foreign_file(path, 10)
    assert read_foreign_file(tmp_path / "file", 1) == b"x"


def test_of_a_strange_heading_little_is_shown_and_no_control_character(tmp_path: Path) -> None:
    place = tmp_path / "submission.csv"
    place.write_text("\x1b]0;title\x07" + "x" * 10_000 + "\n")
    (problem,) = submission_problems(place, [])
    assert len(problem) < 300 + len(str(tmp_path)) and problem.isprintable()
    place.write_text("sample_id,target\n" + "\x1b[2J,1\n" + "a,b,c\n" * 1000)
    problems = submission_problems(place, [])
    assert len(problems) < 30 and all(text.isprintable() for text in problems)
