"""What differs between systems: how files are opened and locked, who may replace one, signals.

A module for each kind of system offers the same names; nothing else here asks which system this is.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("slipstream does not run on Windows yet; it runs on Linux")

from slipstream._platform.memory import memory_left
from slipstream._platform.posix import (
    STOP_SIGNALS,
    create_private,
    group_number,
    is_open_path,
    is_private_folder,
    let_through,
    lock,
    make_folder_of,
    make_library,
    make_private_folder,
    narrow_folder,
    new_memory,
    open_for_append,
    open_path,
    open_to_read,
    peer_user,
    seal_memory,
    user_folder,
    wait_readable,
    wake_pipe,
    who_bars,
    who_may_replace,
    write_patiently,
)

__all__ = [
    "STOP_SIGNALS",
    "create_private",
    "group_number",
    "is_open_path",
    "is_private_folder",
    "let_through",
    "lock",
    "make_folder_of",
    "make_library",
    "make_private_folder",
    "memory_left",
    "narrow_folder",
    "new_memory",
    "open_for_append",
    "open_path",
    "open_to_read",
    "peer_user",
    "seal_memory",
    "user_folder",
    "wait_readable",
    "wake_pipe",
    "who_bars",
    "who_may_replace",
    "write_patiently",
]
