"""``slipstream check`` and ``checks``: what they show, write and exit with."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from slipstream.check.catalogue import catalogue
from slipstream.cli import main
from slipstream.testing import build_plugin
from support.foreign_libraries import pe, plugin

COMMAND = str(Path(sys.executable).with_name("slipstream"))
ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "check.schema.json").read_text())
XSD = ET.parse(ROOT / "docs" / "schemas" / "junit.xsd").getroot()
XS = "{http://www.w3.org/2001/XMLSchema}"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process: its exit code and both outputs."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([*map(str, arguments)])
        output = capsys.readouterr()
        assert "Traceback" not in output.err
        fits = (len(line) <= 80 for line in output.out.splitlines() if line[:1] != "{")
        assert all(fits) or "--explain" in arguments  # whose examples are code
        return code, output.out, output.err

    return run


@pytest.fixture
def told(run: Run) -> Callable[..., dict]:
    """Run a command with --json: the object, which the schema knows."""

    def told(*arguments: object) -> dict:
        code, out, _ = run(*arguments, "--json")
        answer = json.loads(out)
        jsonschema.validate(answer, SCHEMA)
        said = answer.get("error") or answer.get("fuzz") or answer.get("repeat") or answer
        assert said.get("exit_code", 0) == code
        return answer

    return told


@pytest.fixture(scope="session")
def bad(tmp_path_factory) -> Path:
    """A plugin that reads bytes behind a block, and exports what is its own business."""
    source = r"""
    #include <slipstream.h>
    SLIPSTREAM_EXPORT int helper(void);
    int helper(void) { return 0; }
    static int32_t on_broadcast(void *i, const slipstream_delivery *d, const uint8_t *f, size_t len) {
        slipstream_frame frame;
        slipstream_block block;
        (void)i, (void)d;
        if (slipstream_read_frame(f, len, &frame) != SLIPSTREAM_OK ||
            slipstream_read_block(&frame, &block) != SLIPSTREAM_OK)
            return SLIPSTREAM_MALFORMED;
        return block.block.data[63] == 0 ? SLIPSTREAM_OK : SLIPSTREAM_IGNORED;
    }
    static uint64_t kinds(void *i) { (void)i; return SLIPSTREAM_KIND_BIT(SLIPSTREAM_KIND_BLOCK); }
    static void destroy(void *i) { (void)i; }
    const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
        static const slipstream_plugin table = {
            .struct_size = sizeof table, .abi_minor = SLIPSTREAM_ABI_MINOR, .name = "bad",
            .version = "1", .destroy = destroy, .subscribed_events = kinds,
            .on_broadcast = on_broadcast};
        (void)host;
        return &table;
    }
    """
    folder = tmp_path_factory.mktemp("bad")
    return build_plugin(source, "-Wl,-z,relro", folder=folder, name="bad")


def test_a_good_plugin(told, run, examples) -> None:
    tally = examples / "tally" / "tally.so"
    answer = told("check", "--quick", tally)
    assert (answer["ok"], answer["suite"], answer["seed"]) == (True, "quick", 1)
    (file,) = answer["files"]
    assert (file["name"], file["level"], file["whole"]) == ("tally", "excellent", True)
    ids = [check["id"] for check in file["checks"]]
    assert ids == [name for name, check in catalogue().items() if check.quick]
    code, out, err = run("check", tally, "--only", "entry.loads", "--seed", 77)
    assert (code, err) == (0, "")
    assert "excellent: nothing was found (of the one check that was chosen)" in out
    assert "1 pass; seed 77;" in out


def test_findings_are_told_with_rule_and_fix(told, run, bad, tmp_path: Path) -> None:
    only = ("--only", r"binary.exports|events.over-read")
    code, out, _ = run("check", bad, *only)
    assert code == 1
    assert out.index("events.over-read") < out.index("binary.exports")
    words = " ".join(out.split())
    assert "- on_broadcast, BLOCK, " in words
    assert "past the end of the" in words
    assert "slipstream.h:" in words
    assert "fix Compile with `-fvisibility=hidden`." in words
    assert "1 crash, 1 warn; seed 1;" in words
    assert "not conformant: 1 of 2 checks failed" in words
    (file,) = told("check", bad, *only)["files"]
    assert file["counts"]["crash"] == file["counts"]["warn"] == 1
    assert file["checks"][0]["findings"] == ["it exports helper"]
    assert file["checks"][1]["rules"][0]["text"].startswith("is readable for exactly")
    for on, expected in (("fail", 0), ("warn", 1)):
        junit = tmp_path / f"{on}.xml"
        chosen = ("--only", "binary.exports", "--fail-on", on, "--junit", junit)
        assert run("check", bad, *chosen)[0] == expected
        tree = ET.parse(junit).getroot()
        assert_is_junit(tree)
        case = tree.find("testsuite/testcase")
        assert case is not None
        assert [child.tag for child in case] == [["system-out"], ["failure"]][expected]
        assert tree.get("failures") == str(expected)


def assert_is_junit(tree: ET.Element) -> None:
    """Hold a report against the names that the XSD has, and the counts against what is there."""
    known = {
        element.get("name"): {
            a.get("name") for a in [*element.iter(f"{XS}attribute")] if a.get("name")
        }
        for element in XSD.iter(f"{XS}element")
        if element.get("name")
    }
    groups = {
        a.get("name") for g in XSD.iter(f"{XS}attributeGroup") for a in g.iter(f"{XS}attribute")
    }
    types = {a.get("name") for t in XSD.iter(f"{XS}complexType") for a in t.iter(f"{XS}attribute")}
    for element in tree.iter():
        assert element.tag in known
        assert set(element.keys()) <= known[element.tag] | groups | types
    for suite in tree.iter("testsuite"):
        cases = list(suite.iter("testcase"))
        assert int(suite.get("tests", -1)) == len(cases) > 0
        for attribute, tag in (
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ):
            assert int(suite.get(attribute, -1)) == len(list(suite.iter(tag)))


def test_what_cannot_be_tried_here(told, run, tmp_path: Path, examples) -> None:
    far = tmp_path / "far.dll"
    far.write_bytes(pe(plugin(None)))
    code, out, _ = run("check", "--quick", far, "--skip", "executable-stack|writable-file")
    assert code == 3
    assert "no verdict: nothing of it runs here: it is a Windows library (PE)" in out
    for path, exit_code in ((tmp_path, 1), (tmp_path / "gone", 1), (examples / "Makefile", 1)):
        answer = told("check", "--quick", path)
        assert answer["exit_code"] == exit_code
        failed = [c for c in answer["files"][0]["checks"] if c["verdict"] == "fail"]
        assert [check["id"] for check in failed][:1] == ["binary.kind"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a library, or a config file"),
        (("x.so", "--only", "("), "'(' is not a regular expression"),
        (("x.so", "--only", "events.overread"), "did you mean events.over-read?"),
        (("x.so", "--duration", "soon"), "'soon' is not a time: write 90s"),
        (("x.so", "--duration", "30"), "'30' is not a time: write 90s"),
        (("x.so", "--jobs", "0"), "0 is not in the range"),
        (("x.so", "--config", "gone.json5"), "gone.json5"),
        (("x.so", "--quirks", "gone.json5"), "the quirks file gone.json5"),
        (("x.so", "--events", "gone.jsonl"), "cannot open gone.jsonl"),
        (("gone.json5",), "gone.json5"),
        (("a.so", "b.so", "--fuzz"), "name one library only"),
        (("--repeat-input", "gone.bin"), "the input gone.bin"),
    ],
)
def test_wrong_usage(told, tmp_path: Path, monkeypatch, arguments, said) -> None:
    monkeypatch.chdir(tmp_path)
    error = told("check", *arguments)["error"]
    assert error["exit_code"] == 2
    assert said in error["message"]


def test_quirks_are_printed(run, examples, tmp_path: Path) -> None:
    quirks = tmp_path / "q.json5"
    quirks.write_text("{resident: 'holds a runtime'}")
    code, out, _ = run("check", "--only", "entry.loads", "--quirks", quirks,
                       examples / "tally" / "tally.json5")  # fmt: skip
    assert code == 0
    assert "quirk resident: holds a runtime" in out


def test_a_verdict_that_changes_is_a_failure_of_the_checker(told, tmp_path: Path) -> None:
    source = """
    #include <slipstream.h>
    #include <time.h>
    static void destroy(void *i) { (void)i; }
    const slipstream_plugin *slipstream_create_plugin_v1(const slipstream_host *host) {
        static const slipstream_plugin table = {.struct_size = sizeof table, .name = "x",
            .version = "1", .destroy = destroy};
        return fopen(NEXT, "r+") != NULL ? (remove(NEXT), &table)
                                  : (fclose(fopen(NEXT, "w")), slipstream_fail(host, -5, "no"), (void *)0);
    }
    """
    text = source.replace("<time.h>", "<stdio.h>")
    path = build_plugin(text, f'-DNEXT="{tmp_path}/next"', folder=tmp_path)
    chosen = ("check", path, "--only", "entry.constructor$", "--jobs", 1)
    answer = told(*chosen, "--repeat", 3)
    check = answer["files"][0]["checks"][0]
    assert (answer["exit_code"], check["verdict"]) == (4, "broken")
    assert check["findings"][0].startswith("unstable: ")


def test_fuzzing_and_what_it_keeps(told, run, bad, tmp_path: Path) -> None:
    found = told("check", bad, "--fuzz", "--duration", "20s", "--output", tmp_path)["fuzz"]
    assert found["exit_code"] == 1
    assert "past the end of the" in found["finding"]
    (kept,) = tmp_path.glob("check-crash-*.bin")
    assert found["input"] == str(kept)
    assert f"--repeat-input {kept}" in found["repeat"]
    again = told("check", "--repeat-input", kept)["repeat"]
    assert again["exit_code"] == 1
    assert "past the end of the" in again["finding"]


def test_checks_are_listed_and_explained(told, run) -> None:
    answer = told("checks")
    assert [check["id"] for check in answer["checks"]] == list(catalogue())
    (check,) = told("checks", "--explain", "events.over-read")["checks"]
    code, out, _ = run("checks", "--explain", "events.over-read")
    assert code == 0
    assert check["example"].splitlines()[0] in out
    assert "needs   lifecycle.one-event" in out
    _, out, _ = run("checks")
    assert all(f" {name} " in out for name in catalogue())
    error = told("checks", "--explain", "events.overread")["error"]
    assert "did you mean events.over-read?" in error["message"]


def test_a_terminal_sees_which_check_runs_in_colour(examples) -> None:
    reader, terminal = pty.openpty()
    subprocess.run(
        [COMMAND, "check", "--only", "entry.constructor$|entry.twenty", examples / "tally/tally.so"],
        stdout=terminal, stderr=terminal, stdin=subprocess.DEVNULL, timeout=120, check=True,
        env={key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        | {"TERM": "xterm", "COLUMNS": "80"},
    )  # fmt: skip
    os.close(terminal)
    text = os.read(reader, 1 << 20).decode()
    os.close(reader)
    assert "/2 of tally.so" in text
    assert "entry.twenty" in text
    assert "\x1b[32m" in text
