"""Libraries before and beside their being opened: may it be loaded, what it says, which copy is."""

from __future__ import annotations

from slipstream.library.file import REFUSALS, LibraryFile, judge, read_file
from slipstream.library.info import PluginInfo, kind_name, kinds_in_words
from slipstream.library.path import check_library_path, verify_digest
from slipstream.library.private_copy import PrivateCopy

__all__ = [
    "REFUSALS",
    "LibraryFile",
    "PluginInfo",
    "PrivateCopy",
    "check_library_path",
    "judge",
    "kind_name",
    "kinds_in_words",
    "read_file",
    "verify_digest",
]
