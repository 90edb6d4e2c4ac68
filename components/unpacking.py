"""Unpacks the library that travels in a run's Workflow, for all steps that find it there.

The compiler puts this function's source before that of each function that calls it, so the function
imports all that it needs.
"""

__all__ = ["unpack_library"]


def unpack_library(text: str, archive: str) -> None:
    """Writes the library to a ZIP archive, and puts that on ``sys.path``.

    Args:
        text: The pack, as `katibflow.compiler.library` makes it.
        archive: The archive's path, in a folder that exists.
    """
    import base64
    import bz2
    import sys
    import zipfile

    text = text.translate(str.maketrans(",.:/[]'", "{}$`&<>"))
    parts = bz2.decompress(base64.b85decode(text)).decode().split("\0")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as files:
        for path, source in zip(parts[::2], parts[1::2], strict=True):
            files.writestr(path, source)
    sys.path.insert(0, archive)
