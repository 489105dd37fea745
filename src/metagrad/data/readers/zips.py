"""Members of zip files of bounded size, whatever the file says about itself."""

import io
import struct
import zipfile
import zlib

DAMAGE = (
    *(OSError, EOFError, zipfile.BadZipFile, zlib.error, struct.error),
    *(ValueError, LookupError, OverflowError, RuntimeError),  # RuntimeError: the damage reads as encryption
)
"""What damaged bytes raise in a zip file."""


_MOST_MEMBERS = 2**17
_ENTRY = b"PK\x01\x02"  # which each member has in the directory of the file


def open_zip(data: bytes) -> zipfile.ZipFile:
    """A zip file in memory, of 131,072 members at most; raises what is in `DAMAGE`."""
    if data.count(_ENTRY) > _MOST_MEMBERS:
        raise ValueError(f"it has more than {_MOST_MEMBERS:,} members")
    return zipfile.ZipFile(io.BytesIO(data))


def member(archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
    """What a member holds.

    Raises:
        ValueError: it has more than `largest` bytes, or is packed otherwise than such files are.
        KeyError: there is none of that name.
        OSError and others of `DAMAGE`: it is damaged.
    """
    info = archive.getinfo(name)
    if info.file_size > largest:
        raise ValueError(f"it has {info.file_size:,} bytes, and at most {largest:,} are read")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"it is packed in a way of number {info.compress_type}, not deflated")
    return archive.read(info)
