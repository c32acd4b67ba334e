"""Libraries that a host on Windows refuses: with its reason, its words, and nothing left of them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hostile_files import FILES, FileCase

from slipstream import Refusal
from support.hostile_libraries import COMPILED, Case
from support.wine import (
    LONG,
    LONG_MARKS,
    ROOT,
    compile_for_windows,
    folder_there,
    results,
    there,
    under_wine,
)

HERE = ROOT / "tests" / "windows"
# The counterparts of those that only ELF knows stand among the files.
OF_ELF = {
    "constructor is data that claims to be a function",
    "constructor only needed",
    "missing symbol",
}
ENTRY = "BOOL WINAPI DllMain(HINSTANCE own, DWORD why, void *more) { (void)own, (void)more; %s }"
OF_WINDOWS = [
    Case("DllMain returns FALSE", Refusal.CANNOT_OPEN, "cannot open", "dumpbin /dependents",
         more=ENTRY % "return why != DLL_PROCESS_ATTACH;"),
]  # fmt: skip
EVERY = 1 if LONG else 8
LIBRARIES = [case for case in COMPILED if case.name not in OF_ELF][::EVERY] + OF_WINDOWS
ALL_FILES = FILES[:: 1 if LONG else 3]

pytestmark = LONG_MARKS


def file_name(case: Case | FileCase) -> str:
    kind = "file" if isinstance(case, FileCase) else "compiled"
    return f"{kind} {case.name}.dll"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with folder_there() as made:
        (made / "good").mkdir()
        good = made / "good" / "good.dll"
        compile_for_windows(good, ROOT / "examples" / "minimal" / "minimal.c")
        for case in ALL_FILES:
            (made / file_name(case)).write_bytes(case.make(good.read_bytes()))
        (made / "a folder.dll").mkdir()
        sources = made / "sources"
        sources.mkdir()

        def build(numbered: tuple[int, Case]) -> None:
            number, case = numbered
            file = sources / f"{number}.c"
            file.write_text(case.source)
            compile_for_windows(made / file_name(case), file, *case.flags)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(build, enumerate(LIBRARIES)))
        yield made


@pytest.fixture(scope="module")
def found(folder) -> dict[str, dict[str, dict[str, object]]]:
    return results(under_wine(HERE / "refused.py", there(folder)))


@pytest.mark.parametrize("mode", ["inline", "thread"])
@pytest.mark.parametrize("case", [*LIBRARIES, *ALL_FILES], ids=file_name)
def test_it_is_refused(found, case, mode) -> None:
    said = found["loads"][file_name(case)][mode]
    assert said["refusal"] == str(case.refusal), said
    assert case.says in said["message"], said
    assert case.hint in said["hint"], said
    assert said["lines"] == list(getattr(case, "lines", ())), said


def test_a_folder_is_refused(found) -> None:
    said = found["loads"]["a folder.dll"]["inline"]
    assert "is a folder, not a file" in said["message"], said


def test_there_are_fifty() -> None:
    if LONG:
        assert len(ALL_FILES) >= 50
        assert len(LIBRARIES) >= 50


def test_the_next_plugin_works_and_nothing_is_left(found) -> None:
    assert found["loads"]["good"] == {"delivered": 1}
    # Wine 8 keeps a library mapped that it could not open for want of another one, and nobody can
    # remove the copy meanwhile.
    kept = {"file_a_library_that_it_needs_is_missing"}
    assert {name.split(".")[1] for name in found["loads"]["left"]} <= kept


@pytest.mark.parametrize("case", [*LIBRARIES, *ALL_FILES], ids=file_name)
def test_commands_tell_without_a_traceback(found, case) -> None:
    for name, (code, text) in found["commands"][file_name(case)].items():
        assert "Traceback" not in text, text
        assert code in ({1, 3} if name == "check" else {0, 1}), (name, code, text)
