"""What is given beside a library: its config, its quirks, events."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from slipstream.check.given import events_of, quirks_of, subject_of
from slipstream.errors import CaptureError, ConfigError
from support.foreign_libraries import macho, pe, plugin
from support.logs import capture_logs

INFO = b'SLIPINFO1\n{"name": "far", "version": "2", "abi": 1, "sample_config": {"size": 3}}\0'


def test_the_sample_config_is_taken_where_none_is_given(tmp_path: Path) -> None:
    library = tmp_path / "far.dll"
    library.write_bytes(pe(plugin(INFO)))
    subject = subject_of(library)
    assert subject.own == {"size": 3}
    assert subject.foreign == "nothing of it runs here: it is a Windows library (PE)"
    (tmp_path / "far.dylib").write_bytes(macho(plugin(None)))
    subject = subject_of(tmp_path / "far.dylib")
    assert (subject.own, "macOS" in subject.foreign) == ({}, True)


def test_a_config_of_either_form(tmp_path: Path, examples, monkeypatch) -> None:
    monkeypatch.setenv("TRIED", "a secret")
    own = tmp_path / "own.json5"
    own.write_text("{log_every: 3, word: 'env://TRIED'}  // the plugin's own keys")
    tally = examples / "tally" / "tally.so"
    subject = subject_of(tally, config=own)
    assert subject.own == {"log_every": 3, "word": "a secret"}
    assert subject.hidden == {"a secret"}
    whole = tmp_path / "whole.json5"
    whole.write_text(f"{{libpath: '{tally}', host: {{mode: 'thread'}}, log_every: 4}}")
    assert subject_of(tally, config=whole).own["log_every"] == 4
    assert subject_of(whole).own["log_every"] == 4
    assert subject_of(whole).path == tally
    assert subject_of(whole, config=own).own["log_every"] == 3
    whole.write_text(f"{{libpath: '{tally}', log_every: 'often'}}")
    with pytest.raises(ConfigError, match="log_every must be"):
        subject_of(whole)
    with pytest.raises(ConfigError, match=r"gone\.json5"):
        subject_of(tally, config=tmp_path / "gone.json5")


def test_that_the_keys_of_a_config_are_used_is_said(tmp_path: Path, examples) -> None:
    """What they name is written to: a database, a file."""
    config = tmp_path / "production.json5"
    tally = examples / "tally" / "tally.so"
    with capture_logs() as logs:
        subject_of(tally)
    assert not logs, "what it has for a try"
    config.write_text(f"{{libpath: '{tally}', log_every: 4}}")
    for given in ({"file": config}, {"file": tally, "config": config}):
        with capture_logs() as logs:
            subject_of(**given)
        (line,) = logs
        assert line["config"] == str(config)
        assert "writes what it makes of the test events to where they say" in line["event"]


def test_a_path_that_is_not_utf8_is_refused(tmp_path: Path, examples) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    library = shutil.copy(examples / "tally" / "tally.so", folder)
    with pytest.raises(ConfigError, match=r"\\udcff/tally\.so is not UTF-8") as caught:
        subject_of(Path(library))
    assert "rename the folder" in caught.value.hint


def test_quirks_beside_the_library_and_given(tmp_path: Path) -> None:
    library = tmp_path / "mine.so"
    assert quirks_of(library) == {}
    (tmp_path / "mine.quirks.json5").write_text(
        "{resident: 'holds a\\n  runtime', complete: 'an exact ledger'}"
    )
    given = tmp_path / "given.json5"
    given.write_text("{resident: 'for another reason', 'slow-start': 'reads 2 GiB'}")
    assert quirks_of(library) == {"resident": "holds a runtime", "complete": "an exact ledger"}
    assert quirks_of(library, given) == {
        "resident": "for another reason",
        "complete": "an exact ledger",
        "slow-start": "reads 2 GiB",
    }
    library.write_bytes(b"")
    assert subject_of(library, quirks=given).slow > 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{residnet: 'x'}", r'no quirk "residnet".*\n.*did you mean "resident"'),
        ("{other: 'x'}", r'no quirk "other".*\n.*known are complete'),
        ("{resident: ' '}", "resident is empty, and must be the reason"),
        ("{resident: true}", "resident is true, and must be the reason"),
        ("[]", "quirks"),
    ],
)
def test_quirks_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    given = tmp_path / "quirks.json5"
    given.write_text(text)
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        quirks_of(tmp_path / "mine.so", given)
    with pytest.raises(ConfigError, match="quirks file .* is a folder"):
        quirks_of(tmp_path / "mine.so", tmp_path)


def test_events_are_taken_by_kind(tmp_path: Path, examples) -> None:
    found = events_of(str(examples / "streams" / "mainnet_genesis.jsonl"), on_warning=print)
    assert set(found) == {0, 3}
    assert all(len(events) <= 64 for events in found.values())
    assert all(event.kind == kind for kind, events in found.items() for event in events)
    (tmp_path / "wrong").write_text("no event")
    with pytest.raises(CaptureError, match="wrong"):
        events_of(str(tmp_path / "wrong"), on_warning=print)
