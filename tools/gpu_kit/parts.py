"""A tar archive, compressed with xz, that is written as files of limited size, and their checksums.

Archives of the same files are the same byte for byte, so that parts that have been carried to the other machine once
need not be carried again. Large files that seldom change therefore come first.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
from collections.abc import Iterable
from pathlib import Path

SUMS = "SHA256SUMS"


class Parts(io.RawIOBase):
    """A file to write into, which is cut into parts NAME.000, NAME.001, … of at most some bytes."""

    def __init__(self, folder: Path, name: str, limit: int) -> None:
        self.folder, self.name, self.limit = folder, name, limit
        self.files: list[Path] = []
        self._part: io.BufferedWriter | None = None
        self._room = 0

    def writable(self) -> bool:
        """Whether bytes are taken."""
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Take bytes."""
        rest = memoryview(data)
        while rest:
            if self._room == 0:
                self._next()
            taken = self._part.write(rest[: self._room])
            self._room -= taken
            rest = rest[taken:]
        return len(data)

    def _next(self) -> None:
        if self._part is not None:
            self._part.close()
        path = self.folder / f"{self.name}.{len(self.files):03}"
        self.files.append(path)
        self._part, self._room = path.open("wb"), self.limit

    def close(self) -> None:
        """End the last part."""
        if self._part is not None:
            self._part.close()
        super().close()


def write(folder: Path, name: str, files: Iterable[tuple[str, Path]], limit: int, preset: int = 6) -> list[Path]:
    """Write files, each under a name in the archive, and the checksums of the parts; gives the parts.

    Parameters
    ----------
    limit
        Most bytes of a part.
    preset
        How hard xz tries, 0 to 9.
    """
    with (
        Parts(folder, name, limit) as parts,
        lzma.open(parts, "wb", preset=preset) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for target, source in files:
            info = tarfile.TarInfo(target)
            info.size, info.mode = source.stat().st_size, 0o755 if source.stat().st_mode & 0o100 else 0o644
            with source.open("rb") as content:
                archive.addfile(info, content)
    sums = [f"{hashlib.sha256(part.read_bytes()).hexdigest()}  {part.name}\n" for part in parts.files]
    (folder / SUMS).write_text("".join(sums))
    return parts.files
