"""Secrets reach the plugin, and nobody else."""

from __future__ import annotations

import json
import os
import threading
import traceback
from pathlib import Path

import pytest

from slipstream.config import (
    JsonValue,
    ResolvedConfig,
    load_config,
    masked,
    plugin_config,
    resolve_secrets,
)
from slipstream.errors import ConfigError
from support.packed import packed_json
from support.process_tools import open_descriptors
from support.systems import posix

SECRET = "hunter2-\u00fc-correct"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLIP_TEST_SECRET", SECRET)
    monkeypatch.setenv("SLIP_TEST_FILE", str(tmp_path / "secret.txt"))
    monkeypatch.delenv("SLIP_TEST_NONE", raising=False)
    (tmp_path / "secret.txt").write_text(SECRET + "\n")
    return tmp_path


@pytest.mark.parametrize(
    "reference",
    [
        "env://SLIP_TEST_SECRET",
        "env://SLIP_TEST_FILE?type=file",
        "file://secret.txt",
        "file://./secret.txt",
        "file://{folder}/secret.txt",
    ],
)
def test_each_form_is_resolved(reference: str, folder: Path) -> None:
    reference = reference.replace("{folder}", str(folder))
    own: dict[str, JsonValue] = {"a": reference, "b": {"c": [1, reference, {"d": reference}]}}
    resolved = resolve_secrets(own, folder)
    assert resolved.own == {"a": SECRET, "b": {"c": [1, SECRET, {"d": SECRET}]}}
    assert resolved.secrets == (SECRET,)
    assert own["a"] == reference
    hidden = f"***({reference})"
    assert masked(own) == {"a": hidden, "b": {"c": [1, hidden, {"d": hidden}]}}
    assert SECRET not in repr(resolved) + str(resolved)


@pytest.mark.parametrize(
    "value",
    ["env:", "env:/X", "file:/var/log", "see env://X", " env://X", "https://x", "ENV", 5, None],
)
def test_other_values_are_left_as_they_are(value: JsonValue, folder: Path) -> None:
    own = {"key": value}
    assert resolve_secrets(own, folder) == ResolvedConfig(own, ())
    assert masked(own) == own


def test_a_secret_is_not_resolved_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIP_TEST_OUTER", "env://SLIP_TEST_SECRET")
    resolved = resolve_secrets({"a": "env://SLIP_TEST_OUTER"}, folder)
    assert resolved.own == {"a": "env://SLIP_TEST_SECRET"}


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"x", "x"),
        (b"x\n", "x"),
        (b"x\r\n", "x"),
        (b"x\n\n", "x\n"),
        (b"x\r", "x\r"),
        (b"", ""),
        (b"\n", ""),
        (b"a\nb\n", "a\nb"),
        (b"y" * 65536, "y" * 65536),
    ],
)
def test_one_line_end_is_left_out(content: bytes, value: str, folder: Path) -> None:
    (folder / "f").write_bytes(content)
    assert resolve_secrets({"a": "file://f"}, folder).own == {"a": value}


REFUSED = [
    ("env://SLIP_TEST_NONE", "the environment variable SLIP_TEST_NONE is not set", "set SLIP"),
    ("env://SLIP_TEST_NONE?type=file", "variable SLIP_TEST_NONE is not set", "set SLIP"),
    ("env://", '"env://" does not name an environment variable', 'write "env://NAME"'),
    ("env://A-B", '"env://A-B" does not name an environment variable', "letters, digits and _"),
    ("env://A=B", "does not name an environment variable", 'write "env://NAME"'),
    ("env://SLIP_TEST_SECRET?type=json", "does not name an environment", '"env://NAME?type=file"'),
    ("env://SLIP_TEST_SECRET?type=file", "the file that SLIP_TEST_SECRET names does not", "put"),
    posix("env://SLIP_TEST_BYTES", "the value of SLIP_TEST_BYTES is not UTF-8", "set it to text"),
    posix("env://SLIP_TEST_LARGE", "the value of SLIP_TEST_LARGE is larger than 64 KiB", "shorter"),
    ("file://", '"file://" names no file', 'write "file://PATH"'),
    ("file://a\0b", "names no file", 'write "file://PATH"'),
    ("file://none", "the file none does not exist", "counts from the config's folder"),
    posix(
        "file:///none/at/all", "the file /none/at/all does not exist", "put the secret into a text"
    ),
    ("file://.", "the file . is a folder, not a file", "put the secret into a text file"),
    posix(
        "file://fifo", "the file fifo is a FIFO, not a regular file", "put the secret into a text"
    ),
    posix("file:///dev/zero", "the file /dev/zero is a device", "put the secret into a text file"),
    ("file://large", "the file large is larger than 64 KiB", "at most 64 KiB"),
    ("file://bytes", "the file bytes is not UTF-8", "put the secret into a text file"),
    posix("file://" + "x" * 300, "File name too long", "put the secret into a text file"),
]


@pytest.mark.parametrize(("reference", "what", "step"), REFUSED)
def test_what_cannot_be_resolved_is_named_without_its_value(
    reference: str, what: str, step: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.name == "posix":
        monkeypatch.setitem(os.environb, b"SLIP_TEST_BYTES", SECRET.encode() + b"\xff")
        monkeypatch.setenv("SLIP_TEST_LARGE", SECRET + "x" * 65536)
        os.mkfifo(folder / "fifo")
    (folder / "large").write_text(SECRET + "x" * 65536)
    (folder / "bytes").write_bytes(SECRET.encode() + b"\xff")
    before = open_descriptors()
    caught: list[ConfigError] = []

    def resolve() -> None:
        try:
            resolve_secrets({"db": {"keys": [reference]}}, folder, source=folder / "c.json5")
        except ConfigError as error:
            caught.append(error)

    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(240)
    (error,) = caught
    assert error.message.startswith(f"{folder / 'c.json5'}: db.keys[0]: ")
    assert what in error.message
    assert step in error.hint
    chain = "".join(traceback.format_exception(error)) + repr(error)
    assert SECRET not in chain
    assert error.__context__ is None, "a chained error may hold the secret's bytes"
    assert open_descriptors() <= before  # of what others have left, some may go


def test_the_same_file_a_thousand_times_does_not_blow_up(folder: Path) -> None:
    (folder / "big").write_text("x" * 65536)
    with pytest.raises(ConfigError, match=r"list\[16\]: the secrets .* larger than 1024 KiB"):
        resolve_secrets({"list": ["file://big"] * 1000}, folder)


def test_the_plugin_gets_them_in_clear(folder: Path) -> None:
    file = folder / "c.json5"
    file.write_text('{libpath: "x.so", password: "env://SLIP_TEST_SECRET", f: "file://secret.txt"}')
    config = load_config(file)
    assert SECRET not in repr(config)
    handed = json.loads(packed_json(plugin_config(config, "n")))
    assert handed == {
        "name": "n",
        "libpath": str(folder / "x.so"),
        "password": SECRET,
        "f": SECRET,
    }
    resolved = resolve_secrets(config.own, config.folder)
    (folder / "secret.txt").unlink()
    assert json.loads(packed_json(plugin_config(config, "n", resolved=resolved))) == handed
    with pytest.raises(ConfigError, match=rf"{file}: f: the file secret\.txt does not exist"):
        plugin_config(config, "n")


@pytest.mark.parametrize(
    ("secret", "forms"),
    [
        ("hunter2", {"hunter2"}),
        ('a"b\\c', {'a"b\\c', 'a\\"b\\\\c'}),
        ("über", {"über", "\\u00fcber"}),
        (
            "line-one-of-key\nline-two\nshort\n",
            {
                "line-one-of-key\nline-two\nshort\n",
                "line-one-of-key\nline-two\nshort",
                "line-one-of-key\\nline-two\\nshort\\n",
                "line-one-of-key",
                "line-two",
            },
        ),
    ],
)
def test_forms_of_a_secret(secret: str, forms: set[str]) -> None:
    assert ResolvedConfig({}, (secret,)).forms == forms


def test_forms_of_all_secrets() -> None:
    assert ResolvedConfig({}, ()).forms == set()
    assert ResolvedConfig({}, ("one two", "three")).forms == {"one two", "three"}
