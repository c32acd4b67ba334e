"""Compare the Aleo codec with snarkVM's own crates: python tools/interop.py [COUNT] [SEED] [-v].

Builds tools/interop with cargo (minutes at the first time), and compares random values of
snarkVM's, text and bytes both ways, then those values with a few characters or bytes changed:
what both take must be the same. What only one side takes is counted, and shown with -v;
docs/embedding.md says which there are. Another version is set in tools/interop/Cargo.toml.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from slipstream import aleo
from slipstream.errors import AleoFormatError

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "build/interop"
CHARACTERS = "{}[](),:.\"'/*-_ \n0189abfgiou"
BUILD_SECONDS, RUN_SECONDS = 3600, 600


def build() -> Path:
    """Return the program that speaks for snarkVM."""
    cargo = shutil.which("cargo")
    if cargo is None:
        raise SystemExit("interop: there is no cargo; install Rust 1.88 or newer")
    manifest = ROOT / "tools/interop/Cargo.toml"
    subprocess.run(
        [cargo, "build", "--quiet", "--manifest-path", manifest, "--target-dir", TARGET],
        check=True,
        timeout=BUILD_SECONDS,
    )
    return TARGET / "debug/interop"


def ask(program: Path, *arguments: str, lines: list[str] | None = None) -> list[str]:
    """Return the lines that the program answers."""
    done = subprocess.run(
        [program, *arguments],
        input="".join(f"{line}\n" for line in lines or []),
        capture_output=True,
        check=True,
        text=True,
        timeout=RUN_SECONDS,
    )
    return done.stdout.splitlines()


def answer(line: str) -> str:
    """Return what this codec makes of a line, in the form of the program's answers."""
    data = bytes.fromhex(line[1:])
    try:
        if line.startswith("t"):
            value = aleo.parse_value(data.decode(), strict=True)
        else:
            value = aleo.decode_value(data, strict=True)
        if "(0x" in str(value):  # not decoded
            return "-"
        return f"{aleo.encode_value(value).hex()} {str(value).encode().hex()}"
    except AleoFormatError:
        return "-"


def questions(made: list[str]) -> list[str]:
    """Return the lines that ask for each value's bytes and text."""
    pairs = (line.split(" ") for line in made)
    return [line for data, text in pairs for line in (f"b{data}", f"t{text}")]


def change(line: str, chance: random.Random) -> str:
    """Return the line with one to three of its bytes or characters changed."""
    raw = bytes.fromhex(line[1:])
    for _ in range(chance.randint(1, 3)):
        at, cut = chance.randint(0, len(raw)), chance.randint(0, 2)
        if line.startswith("t"):
            put = "".join(chance.choices(CHARACTERS, k=chance.randint(0, 2))).encode()
        else:
            put = chance.randbytes(chance.randint(0, 2))
        raw = raw[:at] + put + raw[at + cut :]
    return f"{line[0]}{raw.hex()}"


def loses(theirs: str) -> bool:
    """Return whether snarkVM's text stands for other bytes than those it was made from."""
    data, text = theirs.split(" ")
    return answer(f"t{text}").split(" ")[0] != data


def readable(line: str) -> str:
    """Return a line as a person reads it."""
    data = bytes.fromhex(line[1:])
    return repr(data.decode()) if line.startswith("t") else data.hex()


def main(count: int, seed: int) -> int:
    """Compare, print what differs, and return 1 if something does that should not."""
    program = build()
    asked = questions(ask(program, "make", str(seed), str(count)))
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    changed = [change(line, chance) for line in asked]
    outcomes: Counter[str] = Counter()
    wrong = []
    for lines in (asked, changed):
        for line, theirs in zip(lines, ask(program, "read", lines=lines), strict=True):
            ours = answer(line)
            if ours == theirs:
                outcome = "refused by both" if ours == "-" else "equal"
            elif ours != "-" and theirs != "-":
                same = ours.split(" ")[0] == theirs.split(" ")[0]
                outcome = "lost by snarkVM's text" if same and loses(theirs) else "DIFFERENT"
            else:
                outcome = f"taken by {'snarkVM' if ours == '-' else 'slipstream'} only"
            outcomes[f"{'changed' if lines is changed else 'whole'}: {outcome}"] += 1
            if ours != theirs and (lines is asked or outcome == "DIFFERENT"):
                wrong.append((line, ours, theirs))
            elif ours != theirs and "-v" in sys.argv:
                print(f"{outcome}: {readable(line)}")
    for line, ours, theirs in wrong[:10]:
        print(f"asked      {readable(line)}\nslipstream {ours}\nsnarkVM    {theirs}\n")
    for outcome, times in sorted(outcomes.items()):
        print(f"{times:8} {outcome}")
    print(f"interop: seed {seed}, {len(wrong)} of {2 * len(asked)} differ")
    return bool(wrong or not outcomes["whole: equal"])


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    sys.exit(main(*(numbers + [2000, random.SystemRandom().randrange(1 << 32)][len(numbers) :])))
