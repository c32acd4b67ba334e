"""Opens and constructs one library, for `doctor`, in a process that may crash.

Called as ``python -m slipstream.check.load_probe LIBRARY DESCRIPTOR SECONDS``; writes one JSON
object to the descriptor: `name`, `version`, `abi_minor`, or `message`, `hint`, `refusal`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from slipstream.config import PluginConfig
from slipstream.delivery.instance import Instance
from slipstream.errors import PluginLoadError
from slipstream.library import PrivateCopy
from slipstream.logs import LogPump


def _probe(library: Path, timeout: float) -> dict[str, object]:
    config = PluginConfig(libpath=library, folder=library.parent, load_timeout=timeout)
    try:
        with (
            LogPump("info") as pump,
            Instance(pump, PrivateCopy(library), config, library.stem) as instance,
        ):
            described = instance.description
    except PluginLoadError as error:
        return {"message": error.message, "hint": error.hint, "refusal": error.refusal}
    return {
        "name": described.name,
        "version": described.version,
        "abi_minor": described.abi_minor,
    }


def _main() -> None:
    library, descriptor, seconds = sys.argv[1:]
    answer = _probe(Path(library), float(seconds))
    with os.fdopen(int(descriptor), "w") as file:
        json.dump(answer, file)


if __name__ == "__main__":
    _main()
