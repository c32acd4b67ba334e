"""Libraries before and beside their being opened: may this file be loaded, and which copy is."""

from __future__ import annotations

from slipstream.library.path import check_library_path, verify_digest
from slipstream.library.private_copy import PrivateCopy

__all__ = ["PrivateCopy", "check_library_path", "verify_digest"]
