"""Rust for Windows: Debian's compiler with its library for there, unpacked and not installed.

The usual Rust has a library for this machine only. Debian's is old (1.63), but whole.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from support.wine import BUILD, locked, zig

FOLDER = BUILD / "rust"
PACKAGES = ("rustc", "libstd-rust-1.63", "libstd-rust-dev-windows", "libllvm14")
TARGET = "x86_64-pc-windows-gnu"
# What rustc tells a gcc of mingw to link, and zig has by itself or calls otherwise.
NOT_NEEDED = (
    "-lgcc|-lgcc_eh|-lmsvcrt|-lmingwex|-lmingw32|-l:libpthread.a|-lssp|-lssp_nonshared"
    "|-nodefaultlibs|-fno-use-linker-plugin|-Wl,-O1|-Wl,--disable-auto-image-base"
    "|-Wl,--out-implib=*|*/rsbegin.o|*/rsend.o|*/dllcrt2.o"
)
LINKER = f"""#!/bin/sh
for given; do
    shift
    case "$given" in
    {NOT_NEEDED}) ;;
    -Wl,*.def) set -- "$@" "${{{{given#-Wl,}}}}" ;; # the names that it exports
    *) set -- "$@" "$given" ;;
    esac
done
exec '{{zig}}' cc -target x86_64-windows-gnu "$@" -lunwind
"""


def run(command: list[str], cwd: str | None = None) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, timeout=600)


def toolchain() -> Path | None:
    """Where it lies; None where Debian's packages are not to be had."""
    with locked("rust"):
        return FOLDER if FOLDER.is_dir() or unpack() else None


def unpack() -> bool:
    with tempfile.TemporaryDirectory(dir=BUILD) as name:
        try:
            run(["apt-get", "download", *PACKAGES], cwd=name)
            for package in Path(name).glob("*.deb"):
                run(["dpkg-deb", "-x", str(package), f"{name}/made"])
        except (OSError, subprocess.SubprocessError):
            return False
        (Path(name) / "made").rename(FOLDER)
    return True


def compile_rust(source: Path, made: Path) -> bool:
    """A .dll of one source file; says whether there is a Rust for Windows."""
    folder = toolchain()
    if folder is None:
        return False
    linker = made.with_suffix(".linker")
    linker.write_text(LINKER.format(zig=zig()))
    linker.chmod(0o755)
    command = [
        *(str(folder / "usr" / "bin" / "rustc"), "--target", TARGET, "--edition", "2021"),
        *("--crate-type", "cdylib", "-O", "-A", "unused_unsafe", "-C", f"linker={linker}"),
        *("-C", "link-self-contained=no", "-C", "strip=symbols", "-o", str(made), str(source)),
    ]
    libraries = str(folder / "usr" / "lib" / "x86_64-linux-gnu")
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=850, check=False
    )
    assert done.returncode == 0, done.stderr
    return True
