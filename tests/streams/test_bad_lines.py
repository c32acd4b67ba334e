"""Lines that are no event, by what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipstream.errors import CaptureError
from slipstream.streams import read_events

PAYLOAD = '"kind": "Payload", "name": "n", "body": "b"'


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (r'{"kind": "Payload", "name": "n", "body": "a\ud800b"}', r"\ud800 is one half of a"),
        (r'{"kind": "Payload", "name": "n", "body": "\udfff\ud800"}', r"\udfff is one half of a"),
        (f'{{{PAYLOAD}, "body": "c"}}', "'body' is in it twice"),
        (f'{{{PAYLOAD}, "x": {{"a": 1}}, "y": {{"a": 2}}, "x" : 0}}', "'x' is in it twice"),
        (f'{{{PAYLOAD}, "a\\"b": 1, "a\\"b": 2}}', r"""'a\\"b' is in it twice"""),
        (f'{{{PAYLOAD}, "block_height": {2**64 - 1}}}', "is how a frame says that there is none"),
        (f'{{{PAYLOAD}, "block_height": {2**64}}}', "block_height does not fit into 64 bits"),
        (f'{{{PAYLOAD}, "seq": {2**64 - 1}}}', "the sequence, which is seq + 1, does not fit"),
        (f'{{{PAYLOAD}, "sequence": {2**64}}}', "sequence does not fit into 64 bits"),
        (f'{{{PAYLOAD}, "time_ns": {2**63}}}', "time_ns does not fit into 64 bits"),
        (f'{{{PAYLOAD}, "body', "cut off inside of the line"),
    ],
)
def test_lines_that_are_no_event_are_told_by_their_fault(tmp_path: Path, line, told) -> None:
    end = "" if "cut off" in told else "\n"
    path = tmp_path / "events.jsonl"
    path.write_text(f"{{{PAYLOAD}}}\n{line}{end}")
    frames_read = []
    with pytest.raises(CaptureError) as raised:
        frames_read.extend(read_events(path, on_warning=print))
    assert "events.jsonl, line 2: " in raised.value.message
    assert told in raised.value.message
    assert len(frames_read) == 1


@pytest.mark.parametrize(
    "line",
    [
        f'{{{PAYLOAD}, "x": {{"body": 1, "body": 2}}, "y": [{{"x": 1}}, {{"x": 1}}]}}',
        r'{"kind": "Payload", "name": "\"body\": ", "body": "\\"}',
        r'{"kind": "Payload", "name": "n", "body": "\ud83d\ude00"}',
        f'{{{PAYLOAD}, "block_height": {2**64 - 2}}}',
    ],
)
def test_lines_that_only_look_like_it(tmp_path: Path, line) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(line + "\n")
    assert len(list(read_events(path, on_warning=print))) == 1


@pytest.mark.parametrize("form", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_another_encoding_is_named(tmp_path: Path, form) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(f"{{{PAYLOAD}}}\n".encode(form))
    with pytest.raises(CaptureError) as raised:
        list(read_events(path, on_warning=print))
    assert "iconv -f UTF-" in raised.value.hint
