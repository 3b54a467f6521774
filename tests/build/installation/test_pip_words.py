"""What pip says becomes a line for each package that is fetched, with a total that is known from the start."""

from pathlib import Path

from build.installation.locks import Locked
from build.installation.pip_words import PipWords

LOCK = [Locked(name, "1.0", "", ()) for name in ("appnope", "far-away", "at-hand", "kept", "there", "source-only")]


def test_each_package_is_counted_and_shown_once(tmp_path: Path) -> None:
    (tmp_path / "at_hand-1.0-py3-none-any.whl").write_bytes(b"x" * 2_500_000)
    said = f"""
Looking in indexes: file:///somewhere
Ignoring appnope: markers 'sys_platform == "darwin"' don't match your environment
Collecting far-away==1.0 (from -r lock.txt (line 1))
  Downloading far_away-1.0-py3-none-any.whl.metadata (1 kB)
  Downloading far_away-1.0-py3-none-any.whl (554.6 MB)
Processing {tmp_path}/at_hand-1.0-py3-none-any.whl (from -r lock.txt (line 9))
Collecting kept==1.0 (from -r lock.txt (line 12))
  Using cached kept-1.0-py3-none-any.whl (15 kB)
Requirement already satisfied: there==1.0 in ./.venv/lib/python3.12/site-packages (from -r lock.txt (line 14)) (1.0)
Collecting source-only==1.0 (from -r lock.txt (line 15))
  Downloading source-only-1.0.tar.gz (9 kB)
Requirement already satisfied: there in ./.venv/lib (from kept==1.0->-r lock.txt (line 12)) (1.0)
Installing collected packages: far-away, at-hand, kept, source-only
Successfully installed at-hand-1.0 far-away-1.0 kept-1.0 source-only-1.0
"""
    words = PipWords(LOCK)
    assert [shown for line in said.splitlines() if (shown := words.read(line))] == [
        "1/5 far-away 1.0 (554.6 MB)",
        "2/5 at-hand 1.0 (2.5 MB, on this disk)",
        "3/5 kept 1.0 (15 kB, from the cache)",
        "5/5 source-only 1.0 (9 kB)",
        "unpacking 4 packages",
    ]
    assert words.there == {"there"} and words.unpacking == 4


def test_of_a_package_that_the_lock_has_twice_the_version_of_this_machine_is_shown() -> None:
    words = PipWords([Locked("a", "1", "python_full_version < '3.12'", ()), Locked("a", "2", "", ())])
    words.read("Ignoring a: markers 'python_full_version < \"3.12\"' don't match your environment")
    words.read("Collecting a==2 (from -r lock.txt (line 3))")
    assert words.read("  Downloading a-2-py3-none-any.whl (3 kB)") == "1/1 a 2 (3 kB)"
