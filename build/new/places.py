"""Where the pictures lie that a column names: their folder, what their names have behind the id."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from build.new.folder import without_suffix

ENOUGH = 0.5  # of a column's values name pictures: it is meant to


@dataclass(frozen=True)
class Place:
    """Where the pictures of a column lie."""

    folder: str = ""  # below the competition's folder
    suffix: str = ""  # behind the value, the commonest
    found: int = 0  # how many values name a picture
    wanted: int = 0
    suffixes: tuple[str, ...] = ()  # all of them
    column: str = ""  # whose values name a folder between the two; mostly there is none

    @property
    def share(self) -> float:
        """Which share of the values names a picture."""
        return self.found / self.wanted if self.wanted else 0.0


class PictureNames:
    """The pictures by the names that a table may have for them."""

    def __init__(self, pictures: Iterable[str]) -> None:
        """Index paths below the competition's folder."""
        self.paths: dict[str, list[str]] = defaultdict(list)
        for path in pictures:
            name = path.rpartition("/")[2]
            for key in {name, without_suffix(name)}:
                self.paths[key].append(path)

    def of(self, value: str) -> list[tuple[str, str]]:
        """Return folder and suffix of each picture that a value may name; the value may hold folders itself."""
        found = []
        for path in self.paths.get(value.rpartition("/")[2], ()):
            for ending in (path, without_suffix(path)):
                if value and (ending == value or ending.endswith(f"/{value}")):
                    found.append((ending[: -len(value)].rstrip("/"), path[len(ending) :]))
                    break
        return found

    def place(self, values: Sequence[str], others: Mapping[str, Sequence[str]], prefer: str = "") -> Place:
        """Tell where most values of a column have their pictures.

        `others` are the table's other columns: one of them may name the folder of each row. Where an id has pictures
        in several folders, `prefer` is a word in the right one's name.
        """
        hits = [self.of(value) for value in values]
        folders = Counter(folder for hit in hits for folder in {folder for folder, _ in hit})
        if not folders:
            return Place(wanted=len(values))
        best = max(folders, key=lambda folder: (folders[folder], prefer in folder.lower(), folder))
        suffixes = Counter(dict(hit)[best] for hit in hits if best in dict(hit))
        one = Place(best, suffixes.most_common(1)[0][0], folders[best], len(values), tuple(sorted(suffixes)))
        return one if one.share > 0.9 else max(one, self._by_column(hits, others), key=lambda place: place.found)

    def _by_column(self, hits: Sequence[Sequence[tuple[str, str]]], others: Mapping[str, Sequence[str]]) -> Place:
        """Look for a column that names the folder in which each row's picture lies."""
        found = Place()
        for column, names in others.items():
            above: Counter[str] = Counter()
            suffixes: Counter[str] = Counter()
            for hit, name in zip(hits, names, strict=True):
                for folder, suffix in hit:
                    if name and (folder == name or folder.endswith(f"/{name}")):
                        above[folder[: -len(name)].rstrip("/")] += 1
                        suffixes[suffix] += 1
            if above and above.most_common(1)[0][1] > found.found:
                top, count = above.most_common(1)[0]
                kinds = tuple(sorted(suffixes))
                found = Place(top, suffixes.most_common(1)[0][0], count, len(hits), kinds, column)
        return found
