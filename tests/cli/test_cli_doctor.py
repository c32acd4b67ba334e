"""``slipstream doctor``: what it says of this machine and of files."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import slipstream

COMMAND = str(Path(sys.executable).with_name("slipstream"))


def steps(command, *arguments: object) -> tuple[int, list[dict[str, object]]]:
    done = command("doctor", *arguments, "--json")
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)["file"]["steps"]


def failed(command, *arguments: object) -> dict[str, object]:
    """The first step that failed; it must say what to do."""
    code, found = steps(command, *arguments)
    assert code == 1
    first = next(step for step in found if not step["ok"])
    assert first["hint"]
    return first


# ---- The machine -----------------------------------------------------------------------------


def test_every_check_says_what_it_is_for(command) -> None:
    done = command("doctor", "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == (0 if answer["ok"] else 1)
    names = {finding["name"] for finding in answer["machine"]}
    assert {
        "memfd_create", "seals", "F_SEAL_FUTURE_WRITE", "shared futex", "pidfd_open",
        "membarrier", "process_vm_readv", "MADV_WIPEONFORK", "PR_SET_PDEATHSIG",
        "/proc/self/maps", "setuid", "executable temp folder", "open files", "threads and processes",
        "locked memory", "Python", "C library", "core",
    } == names  # fmt: skip
    for finding in answer["machine"]:
        assert finding["purpose"]
        assert finding["detail"]
    table = command("doctor", "-v").stdout
    assert all(name in table for name in names)
    first, *rows = command("doctor").stdout.splitlines()
    well = [finding["name"] for finding in answer["machine"] if finding["state"] == "ok"]
    assert f"{len(well)} " in first
    assert not any(row.startswith(f"  {name} ") for row in rows for name in well)


@pytest.fixture(scope="module")
def broken_system(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = Path(__file__).with_name("broken_system.c").read_text()
    return compile_(tmp_path_factory.mktemp("broken"), source)


REFUSED = "Function not implemented"


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        ("nothing", {}),
        ("memfd_create", dict.fromkeys(
            ("memfd_create", "seals", "F_SEAL_FUTURE_WRITE", "shared futex"), ("missing", REFUSED)
        )),
        ("seals", {
            "seals": ("missing", "a sealed file could be resized"),
            "F_SEAL_FUTURE_WRITE": ("missing", "a sealed file could be mapped for writing"),
        }),
        ("wake", {"shared futex": ("missing", "another process was not woken")}),
        ("futex", {"shared futex": ("missing", REFUSED)}),
        ("pidfd", {"pidfd_open": ("missing", REFUSED)}),
        ("membarrier", {"membarrier": ("fallback", REFUSED)}),
        ("prctl", {"PR_SET_PDEATHSIG": ("fallback", "prctl refused it")}),
        ("pdeathsig", {"PR_SET_PDEATHSIG": ("fallback", "a child outlived its parent")}),
        ("readv", {"process_vm_readv": ("fallback", "Operation not permitted")}),
        ("madvise", {"MADV_WIPEONFORK": ("fallback", "the kernel does not know it")}),
        ("wipe", {"MADV_WIPEONFORK": ("fallback", "not wiped in a child")}),
        ("maps", {"/proc/self/maps": ("fallback", REFUSED)}),
    ],
)  # fmt: skip
def test_what_is_missing_is_seen(
    broken_system: Path, broken: str, found: dict[str, tuple[str, str]]
) -> None:
    """The core notices what does not work, by the calls that it makes itself."""
    preloaded = [*os.environ.get("LD_PRELOAD", "").split(), str(broken_system)]
    done = subprocess.run(
        [COMMAND, "doctor", "--json"],
        env={**os.environ, "LD_PRELOAD": " ".join(preloaded), "BROKEN": broken},
        capture_output=True, timeout=600, check=False,
    )  # fmt: skip
    machine = {f["name"]: f for f in json.loads(done.stdout)["machine"]}
    tried = itertools.takewhile(lambda f: f["name"] != "executable temp folder", machine.values())
    seen = {f["name"]: (f["state"], f["detail"]) for f in tried if f["state"] != "ok"}
    if os.geteuid() != 0:
        assert seen.pop("setuid")[0] == "fallback"
    assert seen == found
    assert done.returncode == any(state == "missing" for state, _ in found.values())


def test_low_limits_are_seen() -> None:
    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    done = subprocess.run(
        [COMMAND, "doctor", "--json"], preexec_fn=lower, capture_output=True, check=False
    )
    answer = json.loads(done.stdout)
    limit = next(f for f in answer["machine"] if f["name"] == "open files")
    assert limit["state"] == "fallback"
    assert "only 64" in limit["detail"]
    assert "ulimit -n" in limit["fallback"]


def test_a_temp_folder_without_execution(tmp_path: Path) -> None:
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root mounts file systems")
    folder = tmp_path / "noexec"
    folder.mkdir()
    if subprocess.run(
        [mount, "-t", "tmpfs", "-o", "noexec", "none", folder], check=False, capture_output=True
    ).returncode:
        pytest.skip("no mounts in this sandbox")
    try:
        done = subprocess.run(
            [COMMAND, "doctor", "--json"],
            env={**os.environ, "TMPDIR": str(folder)}, capture_output=True, check=False,
        )  # fmt: skip
    finally:
        subprocess.run(["umount", folder], check=True)
    found = json.loads(done.stdout)["machine"]
    temp = next(f for f in found if f["name"] == "executable temp folder")
    assert temp["state"] == "fallback"
    assert temp["detail"] == "Operation not permitted"


# ---- Files -------------------------------------------------------------------------------------


def test_a_good_plugin(command, examples) -> None:
    code, found = steps(command, examples / "tally" / "tally.so")
    assert code == 0, found
    assert [step["name"] for step in found] == ["path", "file", "info", "needed libraries", "load"]
    assert "tally 1.0.0" in str(found[-1]["detail"])
    assert "tally 1.0.0" in command("doctor", examples / "tally" / "tally.so").stdout


def test_a_good_config(command, examples) -> None:
    code, found = steps(command, examples / "ledger" / "ledger.json5")
    assert code == 0, found
    names = ["config", "secrets", "path", "file", "info", "keys", "needed libraries", "load"]
    assert [step["name"] for step in found] == names


def test_a_config_with_the_right_digest(command, examples, tmp_path: Path) -> None:
    library, config = examples / "tally" / "tally.so", tmp_path / "tally.json5"
    digest = hashlib.sha256(library.read_bytes()).hexdigest()
    config.write_text(f"{{libpath: '{library}', sha256: '{digest}'}}")
    code, found = steps(command, config)
    assert code == 0, found
    assert {"name": "sha256", "ok": True, "detail": digest}.items() <= found[3].items()
    assert all(step["ok"] for step in found)


def test_a_config_that_the_plugin_does_not_take(command, examples, tmp_path: Path) -> None:
    config = tmp_path / "tally.json5"
    config.write_text(f"{{\n  libpath: '{examples / 'tally' / 'tally.so'}',\n  log_evry: 1\n}}")
    step = failed(command, config)
    assert "tally.json5:3:3: log_evry is not a key of the plugin" in str(step["detail"])


def test_the_constructor_is_all_that_runs(command, build) -> None:
    config = build("quiet", ON_LOAD="abort()", ON_UNLOAD="abort()")
    assert steps(command, config)[0] == 0


def test_configs_that_are_refused(command, tmp_path: Path, build) -> None:
    config = tmp_path / "c.json5"
    for text, said in (
        ("{", "c.json5:1:1"),
        ("{}", "libpath"),
        ("{libpath: 'gone.so'}", "does not exist"),
        ("{libpath: 'gone.so', key: 'env://NOT_SET_HERE'}", "NOT_SET_HERE is not set"),
    ):
        config.write_text(text)
        assert said in str(failed(command, config)["detail"])
    wrong = build("wrong", {"sha256": "0" * 64})
    assert "SHA-256" in str(failed(command, wrong)["detail"])


def test_files_that_are_no_plugin(command, tmp_path: Path, examples) -> None:
    def file(content: bytes) -> Path:
        path = tmp_path / "lib.so"
        path.write_bytes(content)
        return path

    minimal = (examples / "minimal" / "minimal.so").read_bytes()
    assert "does not exist" in str(failed(command, tmp_path / "gone.so")["detail"])
    assert "is a folder" in str(failed(command, tmp_path)["detail"])
    assert "an empty file" in str(failed(command, file(b""))["detail"])
    script = failed(command, file(b"#!/bin/sh\n"))
    assert "is not a shared library (refusal: not a library)" in str(script["detail"])
    assert "a Windows library" in str(failed(command, file(b"MZ\x90"))["detail"])
    other = bytearray(minimal)
    other[18:20] = (183 if minimal[18] == 62 else 62).to_bytes(2, "little")
    assert "use the plugin's build for" in str(failed(command, file(bytes(other)))["hint"])
    half = file(minimal[: len(minimal) // 2])
    assert "is a damaged ELF file" in str(failed(command, half)["detail"])


def compile_(folder: Path, text: str, *flags: str) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    source, library = folder / "lib.c", folder / "lib.so"
    source.write_text(text)
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", library, source, *flags], check=True, cwd=folder
    )
    return library


def test_libraries_without_a_constructor(command, tmp_path: Path) -> None:
    step = failed(command, compile_(tmp_path, "int x;"))
    assert step["name"] == "refused"
    assert "no constructor" in str(step["detail"])
    step = failed(command, compile_(tmp_path, "void *_create_plugin(void) { return 0; }"))
    assert "rust abi plugin" in str(step["detail"])


def test_what_the_host_has_is_not_missing(command, tmp_path: Path) -> None:
    text = (
        "#include <slipstream.h>\n"
        "int Py_IsInitialized(void);\n"
        "static void destroy(void *i) { (void)i; }\n"
        "const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *h) {\n"
        '    static const slipstream_plugin t = {sizeof t, 0, 0, 0, 0, "host", "1", destroy};\n'
        "    return h && Py_IsInitialized() ? &t : 0;\n"
        "}\n"
    )
    code, found = steps(command, compile_(tmp_path, text, "-I", slipstream.get_include()))
    assert code == 0, found
    assert "Py_IsInitialized: the host has it" in str(found[2]["detail"])


CONSTRUCTOR = "void *slipstream_create_plugin_v1(void) { return 0; } "


def test_what_a_library_needs(command, tmp_path: Path) -> None:
    text = f"{CONSTRUCTOR} int nowhere(void); int f(void){{return nowhere();}}"
    step = failed(command, compile_(tmp_path, text))
    assert step["name"] == "needed libraries"
    assert "not found: nowhere" in str(step["detail"])
    (tmp_path / "dep.c").write_text("int dep(void) { return 1; }")
    cc = str(shutil.which("cc"))
    subprocess.run([cc, "-shared", "-fPIC", "-o", "libdep.so", "dep.c"], check=True, cwd=tmp_path)
    text = f"{CONSTRUCTOR} int dep(void); int f(void){{return dep();}}"
    needs = compile_(tmp_path, text, "-L.", "-ldep")
    assert "libdep.so" in str(failed(command, needs)["detail"])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise(SIGSEGV)", "crashed with SIGSEGV"),
        ("abort()", "crashed with SIGABRT"),
        ("_exit(3)", "exit code 3"),
    ],
)
def test_a_crash_in_the_constructor_does_not_kill_doctor(
    command, build, tmp_path: Path, code: str, said: str
) -> None:
    build("crash", ON_CREATE=code)
    step = failed(command, tmp_path / "crash.so")
    assert step["name"] == "load"
    assert said in str(step["detail"])
    assert not list(tmp_path.glob(".*slipstream*"))  # its private copy is gone, too


def test_a_refusal_of_the_constructor(command, build, tmp_path: Path) -> None:
    build("no", ON_CREATE='slipstream_fail(h,SLIPSTREAM_FAILED,"no\\x1b[31m thanks");return(NULL)')
    step = failed(command, tmp_path / "no.so")
    assert "thanks" in str(step["detail"])
    assert "constructor refused" in str(step["detail"])
    assert "\x1b" not in command("doctor", tmp_path / "no.so").stdout


def test_an_unsafe_library_is_not_run(command, build, tmp_path: Path) -> None:
    build("open", ON_CREATE="abort()")
    (tmp_path / "open.so").chmod(0o777)
    step = failed(command, tmp_path / "open.so")
    assert "writable for everybody" in str(step["detail"])
    assert "SIGABRT" in str(failed(command, tmp_path / "open.so", "--insecure-paths")["detail"])


def test_the_probe_does_not_import_from_the_current_folder(examples, tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise SystemExit('imported from here')")
    done = subprocess.run(
        [COMMAND, "doctor", str(examples / "tally" / "tally.so")],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
