"""The tutorial works as it stands: its files are saved, its commands typed into one shell."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.pages import blocks, missing_line, steps
from support.wheel import built_wheel

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tutorial.md"
SECONDS = 300.0
MARK = "-- done: "


class Shell:
    """A shell with nothing but Python and the system's own programs."""

    def __init__(self, folder: Path) -> None:
        clean = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("PYTHON", "VIRTUAL_ENV", "SLIPSTREAM"))
        }
        clean |= {"PATH": f"{sys.base_prefix}/bin:/usr/bin:/bin", "COLUMNS": "100"}
        self.process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=clean,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def type(self, command: str) -> tuple[str, int]:
        """Enter a command; what it wrote, and its exit code."""
        self.process.stdin.write(f'{command} </dev/null\necho "\n{MARK}$?"\n'.encode())
        self.process.stdin.flush()
        end, text, out = time.monotonic() + SECONDS, b"", self.process.stdout.fileno()
        while not text.endswith(b"\n") or f"\n{MARK}".encode() not in text:
            ready, _, _ = select.select([out], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{command} does not end:\n{text.decode()}"
            more = os.read(out, 65536)
            assert more, f"{command} ended the shell:\n{text.decode()}"
            text += more
        output, _, code = text.decode().rpartition(f"\n{MARK}")
        return output, int(code)

    def close(self) -> None:
        """End it and what it has started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.mark.slow
@pytest.mark.no_asan
def test_every_command_of_the_tutorial(tmp_path, tmp_path_factory) -> None:
    folder = tmp_path / "my first plugin"
    (folder / "dist").mkdir(parents=True)
    shutil.copy(built_wheel(tmp_path_factory), folder / "dist")
    shell = Shell(folder)
    typed = 0
    try:
        for block in blocks(PAGE):
            if block.file is not None:
                (folder / block.file).write_text(block.text, encoding="utf-8")
                continue
            assert block.language == "console", f"line {block.line}: neither file nor command"
            for command, expected in steps(block):
                output, code = shell.type(command)
                assert code == 0, f"$ {command}\n{output}"
                line = missing_line(expected, output)
                assert line is None, f"not in the output: {line}\n$ {command}\n{output}"
                typed += 1
    finally:
        shell.close()
    assert typed > 8
