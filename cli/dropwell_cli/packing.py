"""What can be dropped: a zip or tar, a bare WDL, or a folder that is zipped on the way."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dropwell.drops import INBOX, Ignored, parted, safe_name, what_is
from dropwell_cli import Failure

_EPOCH = (1980, 1, 1, 0, 0, 0)  # as early as zip can say


@dataclass(frozen=True, slots=True)
class Parcel:
    """A bundle as it will lie in the inbox.

    Parameters
    ----------
    given : str
        What the user called it.
    file_name : str
        What the inbox will call it.
    data : bytes
        The object's content.
    """

    given: str
    file_name: str
    data: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """What to call the run until the bundle's own name is known."""
        return safe_name(parted(self.file_name)[0])


def packed(bundle: Path) -> Parcel:
    """Return a bundle ready to be dropped.

    A folder becomes a zip: the same folder the same bytes, hidden files left out.
    Whether it can be run is the submitter's to say; here only what it would not
    even look at is refused.

    Raises
    ------
    Failure
        There is no such file, or no drop is called like this.
    """
    try:
        if bundle.is_dir():
            return Parcel(str(bundle), f"{bundle.resolve().name}.zip", _zip_of(bundle))
        parcel = Parcel(str(bundle), bundle.name, bundle.read_bytes())
    except FileNotFoundError:
        raise Failure(f"{bundle} is not there.") from None
    except OSError as error:
        raise Failure(f"{bundle} cannot be read: {error.strerror}.") from None
    if isinstance(why := what_is(f"{INBOX}project/{parcel.file_name}", len(parcel.data)), Ignored):
        raise Failure(
            f"{bundle} would be left alone: {why.value}. Give a zip,"
            " a tar.gz, a WDL file or a folder."
        )
    return parcel


def _zip_of(folder: Path) -> bytes:
    folded = io.BytesIO()
    with zipfile.ZipFile(folded, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(_files(folder)):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, file.read_bytes())
        if not archive.namelist():
            raise Failure(f"The folder {folder} holds no files.")
    return folded.getvalue()


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        elif path.is_file():
            yield path
