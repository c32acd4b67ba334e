"""Build the wheels for every system on this one, and check each: dist/*.whl.

python tools/wheels.py [TARGET...]      without targets: all that tools/cross.py knows

Each holds the core as tools/cross.py builds it; its metadata are those of the usual build.
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
import tempfile
import zipfile
from pathlib import Path

import cross
from fetched import Missing
from scikit_build_core.build import prepare_metadata_for_build_wheel

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
PYTHON_TAG = "cp311-abi3"  # the stable ABI of 3.11: every later interpreter takes it
EPOCH = (1980, 1, 1, 0, 0, 0)
PROGRAMS = re.compile(r"slipstream/slipstream-(worker|check)")


def _line(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}\n"


def _metadata(tag: str) -> dict[str, bytes]:
    """Return the files of dist-info by their names in the wheel."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / prepare_metadata_for_build_wheel(made)
        files = {
            f"{folder.name}/{path.relative_to(folder)}": path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != "RECORD"
        }
    (name,) = (name for name in files if name.endswith("/WHEEL"))
    kept = [line for line in files[name].decode().splitlines() if not line.startswith("Tag:")]
    files[name] = "\n".join([*filter(None, kept), f"Tag: {PYTHON_TAG}-{tag}", ""]).encode()
    return files


def build(name: str) -> Path:
    """Build the wheel for a target and return its path."""
    tag = cross.TARGETS[name].tag
    stage = cross.build(name)
    files = {
        str(path.relative_to(stage)): path.read_bytes()
        for path in sorted(stage.rglob("*"))
        if path.is_file() and path.suffix not in {".lib", ".pdb"}
    }
    files |= _metadata(tag)
    (info,) = {name.split("/")[0] for name in files if ".dist-info/" in name}
    record = "".join(_line(name, data) for name, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    DIST.mkdir(exist_ok=True)
    wheel = DIST / f"slipstream-{cross.version()}-{PYTHON_TAG}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name_in, data in files.items():
            entry = zipfile.ZipInfo(name_in, EPOCH)
            mode = 0o755 if PROGRAMS.fullmatch(name_in) else 0o644
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return wheel


def main() -> int:
    """Build the wheels that are named and return the exit code."""
    names = sys.argv[1:] or list(cross.TARGETS)
    if not set(names) <= set(cross.TARGETS):
        print(f"usage: wheels.py TARGET...   some of: {' '.join(cross.TARGETS)}", file=sys.stderr)
        return 2
    try:
        for name in names:
            print(build(name))
    except Missing as missing:
        print(f"wheels: {missing}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
