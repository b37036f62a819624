"""Data sets in their standard files: where they lie, how they get there, and what is wrong with one that is not right.

They lie in the folder that LLIPTOOLS_DATA names, or in the user's cache, and are downloaded where they are missing.
"""

import gzip
import os
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile, ZipFile

from lliptools.errors import InvalidInput, extra

AT_ONCE = 1 << 16  # bytes between two steps of the progress bar


@dataclass(frozen=True)
class Source:
    """A download: its place in the data folder, for an archive that of the one folder wanted in it; MD5; addresses."""

    place: str
    md5: str
    addresses: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file's name at its addresses."""
        return self.addresses[0].rsplit("/", 1)[1]

    @property
    def is_archive(self) -> bool:
        """Whether it has to be unpacked."""
        return self.name.endswith((".tar.gz", ".zip"))


def folder() -> Path:
    """Where data sets lie: the folder LLIPTOOLS_DATA names, else the user's cache. Raises InvalidInput."""
    named = os.environ.get("LLIPTOOLS_DATA", "")
    if not named:
        with extra("data"):
            from pooch import os_cache

        return Path(os_cache("lliptools"))
    if not Path(named).is_dir():
        cause = "a misspelt path, or a disk that is not mounted"
        step = f'mkdir -p "{named}", or unset LLIPTOOLS_DATA to use the cache'
        raise InvalidInput("a folder in the environment variable LLIPTOOLS_DATA", repr(named), cause, step)
    return Path(named)


def find(source: Source) -> Path:
    """The path of the file, or of the unpacked archive's folder; downloaded, with a progress bar, if it is not there.

    A .gz file may also lie there without its ending, decompressed. What is there is not examined here.
    Raises InvalidInput where the download fails or has another MD5; nothing of it is left.
    """
    path = folder() / source.place
    for there in (path, path.with_suffix("")) if path.suffix == ".gz" else (path,):
        if there.exists():
            return there
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: what is unfinished lies aside until the last step, a rename.
        with TemporaryDirectory(dir=path.parent, prefix="download-") as aside:
            _download(source, Path(aside))
            if source.is_archive:
                unpack(Path(aside) / source.name, path.name, Path(aside))
            (Path(aside) / path.name).rename(path)
    except OSError as error:  # a folder that may not be written, a full disk, an archive without the wanted folder
        raise _not_got(path, source, str(error), "a folder that cannot be written, or a full disk") from error
    return path


def unpack(archive: Path, wanted: str, to: Path) -> None:
    """Write an archive's files in its folder `wanted` beneath to, no others. Raises InvalidInput for a damaged one."""
    inside = (to / wanted).resolve()

    def is_wanted(name: str) -> bool:  # not "..", an absolute path, or simply something else
        return (to / name).resolve().is_relative_to(inside)

    try:
        if archive.suffix == ".zip":
            with ZipFile(archive) as opened:
                opened.extractall(to, [name for name in opened.namelist() if is_wanted(name)])
        else:
            with tarfile.open(archive) as tape:
                wanted_files = [member for member in tape if member.isfile() and is_wanted(member.name)]
                tape.extractall(to, wanted_files, filter="data")
    except (tarfile.TarError, BadZipFile, EOFError, zlib.error, gzip.BadGzipFile) as error:
        why = "a download that stopped early", "fetch it again"
        raise InvalidInput("a whole .tar.gz or .zip archive", f"{archive}: {error}", *why) from error


def read(path: Path, source: Source) -> bytes:
    """What the file holds, decompressed if it ends in .gz. Raises InvalidInput where it is missing or cut short."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except FileNotFoundError as error:
        raise damaged(path, source, "a file", "none of that name", "a copy that stopped early") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:  # the first of these is an OSError too
        raise damaged(path, source, "a whole gzip file", str(error), "a download or copy that stopped early") from error
    except OSError as error:
        raise damaged(path, source, "a file that can be read", str(error), "a folder in its place") from error


def damaged(path: Path, source: Source, expected: str, got: str, cause: str) -> InvalidInput:
    """The error for a file that is not what it should be: path, what is wrong with it, where to get it."""
    remove = folder() / source.place if source.is_archive else path
    why = cause, f"remove {remove}, and the next call downloads it; or {_by_hand(remove, source)}"
    return InvalidInput(f"{expected} at {path}", got, *why)


def _not_got(path: Path, source: Source, got: str, cause: str) -> InvalidInput:
    why = cause, f"{_by_hand(path, source)}, or set LLIPTOOLS_DATA to the folder with {source.place}"
    return InvalidInput(f"{path}, or {source.name} with MD5 {source.md5} from one of its addresses", got, *why)


def _by_hand(path: Path, source: Source) -> str:
    return f"fetch {source.addresses[0]} and {'unpack' if source.is_archive else 'put'} it into {path.parent}"


def _download(source: Source, to: Path) -> None:
    """Write the file beneath to. Raises InvalidInput where no address gives it with its MD5."""
    with extra("data"):
        import pooch

    failures = []
    for address in source.addresses:
        downloader = pooch.HTTPDownloader(progressbar=True, chunk_size=AT_ONCE)
        try:
            pooch.retrieve(address, f"md5:{source.md5}", fname=source.name, path=to, downloader=downloader)
            return
        except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong checksum is a ValueError
            failures.append(f"{address}: {error}")
    cause = "no connection, or a download that was cut short"
    raise _not_got(folder() / source.place, source, "; ".join(failures), cause)
