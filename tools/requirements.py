"""Print the requirements that pyproject.toml lists, one a line.

python tools/requirements.py build     what builds the package, with cmake and ninja
python tools/requirements.py EXTRA ... the optional dependencies of that name
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"
# A distribution's may be too old; native/CMakeLists.txt says what CMake it has to be.
BUILD_TOOLS = ["cmake>=3.26", "ninja>=1.11"]


def requirements(names: list[str]) -> list[str]:
    """Return the requirements of the given groups.

    Args:
        names: "build", or names of optional dependencies.
    """
    table = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    found: list[str] = []
    for name in names:
        if name == "build":
            found += table["build-system"]["requires"] + BUILD_TOOLS
        else:
            found += table["project"]["optional-dependencies"][name]
    return found


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(sys.argv[1:])) + "\n")
