"""The one door to the native core: nothing else imports the extension.

It knows nothing of the rooms above: they say what statuses mean to a user (`explain`) and how
their events become frames (`set_encoder`).
"""

from slipstream._native.door import MODULE_FILE, address, extension, ffi, forked, hide, lib, text
from slipstream._native.python_callback import PythonCallback
from slipstream._native.statuses import (
    ANY,
    MakeError,
    check,
    closed_error,
    explain,
    status_error,
    status_name,
)

Door = extension.Door
decode_frame = extension.decode_frame
encode_frame = extension.encode_frame
park = extension.park
raise_parked = extension.raise_parked
repeated_key = extension.repeated_key
serve = extension.serve
set_encoder = extension.set_encoder

__all__ = [
    "ANY",
    "MODULE_FILE",
    "Door",
    "MakeError",
    "PythonCallback",
    "address",
    "check",
    "closed_error",
    "decode_frame",
    "encode_frame",
    "explain",
    "ffi",
    "forked",
    "hide",
    "lib",
    "park",
    "raise_parked",
    "repeated_key",
    "serve",
    "set_encoder",
    "status_error",
    "status_name",
    "text",
]
