"""Many tables of a flatbuffer at once: numpy follows the offsets of all of them together.

Only what the C++ verifier accepts is read, and only where numbers lie at multiples of their size, as
every writer puts them.
"""

from __future__ import annotations

import itertools

import numpy as np

from secateur.litert._unpack import Reader


class Numbers:
    """A file as numbers.

    Args:
        data: The file.
    """

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.reader = Reader(data)
        self.bytes = np.frombuffer(data, np.int8)
        self._words = np.frombuffer(data, "<i4", len(data) // 4)

    def words(self, places: np.ndarray) -> np.ndarray:
        """The 32-bit numbers at some places, signed.

        Raises:
            ValueError: If one of them does not lie within the file, or at no multiple of 4.
        """
        if len(places) and (places.min() < 0 or places.max() + 4 > len(self.data)):
            raise ValueError("an offset points out of the file")
        if (places & 3).any():
            raise ValueError("a number lies at no multiple of its size")
        return self._words[places >> 2].astype(np.int64)

    def targets(self, places: np.ndarray) -> np.ndarray:
        """Where the offsets at some places point to.

        Raises:
            ValueError: As `words`.
        """
        offsets = self.words(places)
        if (offsets < 0).any():
            raise ValueError("an offset points out of the file")
        return places + offsets

    def runs(self, starts: np.ndarray, lengths: np.ndarray) -> list[list[int]]:
        """Vectors of 32-bit numbers, of which it is known that they lie within the file."""
        if (starts & 3).any():
            raise ValueError("a number lies at no multiple of its size")
        ends = np.cumsum(lengths)
        places = np.arange(ends[-1]) + np.repeat((starts >> 2) - (ends - lengths), lengths)
        flat = self._words[places].tolist()
        return [flat[a:b] for a, b in itertools.pairwise([0, *ends.tolist()])]


class Tables:
    """Tables of one kind.

    Args:
        numbers: The file.
        kind: Their kind.
        positions: Where they begin, one at least.

    Raises:
        ValueError: If one does not lie within the file.

    Attributes:
        positions: Where they begin.
        fields: For each field that any of them has: where it is in each, -1 for those without.
    """

    def __init__(self, numbers: Numbers, kind: str, positions: np.ndarray) -> None:
        self._numbers = numbers
        self.positions = positions
        self.fields: dict[str, np.ndarray] = {}
        numbers.reader.count(len(positions))
        vtables = positions - numbers.words(positions)
        for vtable in set(vtables.tolist()):
            mine = vtables == vtable
            layout = numbers.reader.lay_out(kind, vtable)
            places = positions[mine]
            if places.max() + layout.size > len(numbers.data):
                raise ValueError("a table reaches out of the file")
            for name, _, offset, _ in layout.fields:
                self.fields.setdefault(name, np.full(len(positions), -1))[mine] = places + offset

    @classmethod
    def of_vector(cls, numbers: Numbers, kind: str, position: int) -> Tables:
        """The tables of a vector."""
        count = numbers.reader.vector(position, 4)
        return cls(numbers, kind, numbers.targets(position + 4 + 4 * np.arange(count)))

    def __len__(self) -> int:
        return len(self.positions)

    def _present(self, field: str) -> tuple[np.ndarray, np.ndarray]:
        """Which of the tables have a field, and where."""
        if field not in self.fields:
            nothing = np.zeros(0, np.int64)
            return nothing, nothing
        which = np.flatnonzero(self.fields[field] >= 0)
        return which, self.fields[field][which]

    def words(self, field: str) -> np.ndarray:
        """The values of a field of 32 bits, 0 where it is left out."""
        found = np.zeros(len(self), np.int64)
        which, places = self._present(field)
        found[which] = self._numbers.words(places)
        return found

    def bytes(self, field: str) -> np.ndarray:
        """The same of a field of 8 bits."""
        found = np.zeros(len(self), np.int64)
        which, places = self._present(field)
        found[which] = self._numbers.bytes[places]
        return found

    def targets(self, field: str) -> np.ndarray:
        """Where a field points to, -1 where it is left out."""
        found = np.full(len(self), -1)
        which, places = self._present(field)
        found[which] = self._numbers.targets(places)
        return found

    def vectors(self, field: str, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the elements of a vector begin, and how many there are of `width` bytes each.

        Raises:
            ValueError: If one does not lie within the file.
        """
        starts, lengths = np.zeros((2, len(self)), np.int64)
        which, places = self._present(field)
        targets = self._numbers.targets(places)
        counts = self._numbers.words(targets)
        ends = targets + 4 + counts * width
        if len(which) and (counts.min() < 0 or ends.max() > len(self._numbers.data)):
            raise ValueError("a vector reaches out of the file")
        self._numbers.reader.spend(int(counts.sum()) * width)
        starts[which], lengths[which] = targets + 4, counts
        return starts, lengths

    def lists(self, field: str) -> list[list[int]]:
        """The vectors of 32-bit numbers that a field points to, [] where it is left out."""
        return self._numbers.runs(*self.vectors(field, 4))

    def tables(self, field: str, kind: str) -> tuple[np.ndarray, Tables | None]:
        """Which have a table in a field, and these; None if there are none."""
        which, places = self._present(field)
        if not len(which):
            return which, None
        return which, Tables(self._numbers, kind, self._numbers.targets(places))
