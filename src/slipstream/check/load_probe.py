"""Opens and constructs one library, for `doctor`, in a process that may crash.

Called as ``python -m slipstream.check.load_probe LIBRARY ANSWER SECONDS``; writes one JSON object
to the file ANSWER: `name`, `version`, `abi_minor`, or `message`, `hint`, `refusal`.
"""

from __future__ import annotations

import json
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
    library, told, seconds = sys.argv[1:]
    answer = _probe(Path(library), float(seconds))
    # All or nothing: who is killed in between has not answered.
    draft = Path(f"{told}.new")
    draft.write_text(json.dumps(answer), "utf-8")
    draft.replace(told)


if __name__ == "__main__":
    _main()
