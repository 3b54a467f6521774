"""A run knows which sources trained it, and says so where it does not."""

from pathlib import Path

from kernel_src.runtime.provenance import note_sources, sources_of


def test_a_run_names_the_sources_that_trained_it_once(tmp_path: Path) -> None:
    note_sources(tmp_path / "run", "a" * 64)
    note_sources(tmp_path / "run", "a" * 64)
    assert sources_of(tmp_path / "run") == "a" * 64


def test_a_run_that_went_on_under_other_sources_names_both(tmp_path: Path) -> None:
    note_sources(tmp_path, "a" * 64)
    note_sources(tmp_path, "b" * 64)
    assert sources_of(tmp_path) == f"{'a' * 64}+{'b' * 64}"


def test_what_is_not_known_is_called_unknown(tmp_path: Path) -> None:
    assert sources_of(tmp_path) == "unknown"
    note_sources(tmp_path, "")
    assert sources_of(tmp_path) == "unknown"


def test_a_run_begun_before_anything_was_noted_stays_partly_unknown(tmp_path: Path) -> None:
    (tmp_path / "fold0.safetensors").touch()
    note_sources(tmp_path, "b" * 64)
    assert sources_of(tmp_path) == f"unknown+{'b' * 64}"
