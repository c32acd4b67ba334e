"""Every kind of event follows from its class: frames, lines, and what is shown of it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from slipstream import PluginManager, _native, frames, get_include, streams
from slipstream.capture import CaptureWriter
from slipstream.cli.show import show
from slipstream.errors import FrameError
from slipstream.events import (
    NO_META,
    AppEvent,
    Block,
    Event,
    EventKind,
    Gap,
    GapReason,
    MappingUpdate,
    Meta,
)
from slipstream.frames import APP_KINDS, CLASSES, HOST_ONLY
from slipstream.streams.fields import FORMS, AnyLine, Line
from slipstream.testing import RecordingPlugin

META = Meta(stream=1, sequence=2, time_ns=3, flags=frames.RECORDED)
EVENTS: tuple[type[Event], ...] = get_args(Event)
MADE_BY_HOSTS = {CLASSES[kind] for kind in HOST_ONLY}
each_class = pytest.mark.parametrize("of", EVENTS, ids=lambda of: of.__name__)


def sample(of: type[Event], *, absent: bool = False) -> Event:
    """An event with a value of its own in each field."""
    layout = of.layout
    values = {"block_height": 7, "meta": META, "kind": 40, "reason": GapReason(9)}
    values |= {"encoding": 1, "via": 2}
    values |= {name: number for number, name in enumerate(layout.numbers, 1000)}
    for span in layout.spans:
        values[span.name] = None if absent and span.optional else span.name.encode()
    return of(**{field.name: values[field.name] for field in dataclasses.fields(of)})


def test_every_kind_has_a_class_and_only_one() -> None:
    assert list(CLASSES) == list(EventKind)
    assert set(EVENTS) == {*CLASSES.values(), AppEvent}


@pytest.mark.parametrize("kind", range(-1, 70))
def test_the_core_and_the_classes_agree(kind: int) -> None:
    shape = _native.lib.ss_frame_shape(kind & 0xFFFFFFFF)
    of = AppEvent if kind in APP_KINDS else CLASSES.get(kind)
    assert bool(shape.known) == (of is not None)
    if of is not None:
        spans = of.layout.spans if of is not AppEvent else ()
        optional = sum(1 << place for place, span in enumerate(spans) if span.optional)
        ours = (len(spans), optional, len(of.layout.numbers), bool(of.layout.word))
        core = (shape.spans, shape.optional, shape.numbers, bool(shape.has_word))
        assert core == ours
        assert bool(shape.sent) == (kind not in HOST_ONLY)


@pytest.mark.parametrize("of", CLASSES.values(), ids=lambda of: of.__name__)
def test_the_header_reads_what_the_layout_says(of: type[Event]) -> None:
    header = (Path(get_include()) / "slipstream.h").read_text(encoding="utf-8")
    name = re.sub("(?<!^)(?=[A-Z])", "_", of.__name__).lower()
    _, _, reader = header.partition(f"int32_t slipstream_read_{name}(")
    reader = reader.partition("\n}\n")[0]
    assert of.kind.name == name.upper()
    assert f"SLIPSTREAM_KIND_{of.kind.name}," in reader
    read = re.findall(r"read_span\(frame, fixed, (\d+), (\d), &out->(\w+)\)", reader)
    loaded = re.findall(r"out->(\w+) = slipstream_load_u64\(frame->payload.data \+ (\d+)\)", reader)
    spans, numbers = of.layout.spans, of.layout.numbers
    words = re.findall(r"out->(\w+) = slipstream_word\(frame\)", reader)
    assert ["reason" if word == "reasons" else word for word in words] == [
        *filter(None, [of.layout.word])
    ]
    assert read == [
        (str(8 + 8 * place), str(int(not span.optional)), span.name)
        for place, span in enumerate(spans)
    ]
    assert loaded == [
        (name, str(8 + 8 * (len(spans) + place))) for place, name in enumerate(numbers)
    ]


@each_class
def test_what_is_not_given_is_not_said(of: type[Event]) -> None:
    nothing = {"meta": NO_META, "via": 1, "source": None, "public_key": None, "name": None}
    for field in dataclasses.fields(of):
        if field.default is not dataclasses.MISSING:
            none = None if field.name.endswith("height") else 0
            assert field.default == nothing.get(field.name, none), field.name
    assert dataclasses.astuple(NO_META) == (0, 0, 0, 0)


@each_class
def test_a_layout_names_the_fields_of_its_class(of: type[Event]) -> None:
    named = [span.name for span in of.layout.spans] + [*of.layout.numbers]
    other = {"block_height", "meta"} if of is not Gap else {"meta"}
    other |= {*filter(None, [of.layout.word])}
    other |= {"kind"} if of is AppEvent else set()
    assert {*named, *other} == {field.name for field in dataclasses.fields(of)}
    assert len(named) == len({*named, *other}) - len(other)


@each_class
@pytest.mark.parametrize("absent", [False, True])
def test_an_event_comes_back_from_its_frame(of: type[Event], absent: bool) -> None:
    event = sample(of, absent=absent)
    frame = frames.encode(event)
    assert frames.decode(frame) == (event, len(frame))
    bare = dataclasses.replace(event, meta=NO_META)
    assert frames.decode(frames.encode(bare))[0].meta is NO_META


@each_class
@pytest.mark.parametrize("absent", [False, True])
def test_an_event_comes_back_from_its_line(of: type[Event], absent: bool) -> None:
    frame = frames.encode(sample(of, absent=absent))
    line = streams.line_of(frame)
    assert b"frame_hex" in line if of in MADE_BY_HOSTS else b"frame_hex" not in line
    assert streams.LineReader(None, pytest.fail).frame(line) == frame


def test_no_field_of_a_line_has_two_meanings() -> None:
    meanings: dict[str, set[str]] = {}
    for of in EVENTS:
        if of not in MADE_BY_HOSTS:
            for span in of.layout.spans:
                meanings.setdefault(f"{span.name}_hex", set()).add("hex")
                if FORMS[span.form].encode is not None:
                    meanings.setdefault(span.name, set()).add(span.form)
            for name in of.layout.numbers:
                meanings.setdefault(name, set()).add("number")
            if of.layout.word:
                meanings.setdefault(of.layout.word, set()).add("word")
    assert {name for name, forms in meanings.items() if len(forms) > 1} == set()
    assert set(AnyLine.__struct_fields__) - set(Line.__struct_fields__) == set(meanings)
    assert not set(Line.__struct_fields__) & set(meanings)


@each_class
@pytest.mark.parametrize("absent", [False, True])
def test_what_is_shown_of_an_event(of: type[Event], absent: bool, tmp_path: Path) -> None:
    event = sample(of, absent=absent)
    with CaptureWriter(tmp_path / "one") as writer:
        writer.write(frames.encode(event))
    done = CliRunner().invoke(show, [str(tmp_path / "one")], catch_exceptions=False)
    kind, said = done.stdout.splitlines()[1].split(None, 4)[3:]
    assert kind == frames.kind_name(event.kind)
    if of is Gap:
        return  # it is a sentence about some of its numbers
    for span in of.layout.spans:
        data = getattr(event, span.name)
        text = streams.text_of(event, span.name)
        assert data is None or (text or data.hex()) in said
    assert all(f"{getattr(event, name):,}" in said for name in of.layout.numbers)


@each_class
def test_who_wants_a_kind_gets_it(of: type[Event]) -> None:
    event = sample(of)
    plugin = RecordingPlugin("all", range(64))
    other = RecordingPlugin("none", [])
    with PluginManager() as manager:
        manager.install(other)
        if of in MADE_BY_HOSTS:
            with pytest.raises(FrameError, match="may not be sent"):
                manager.broadcast(event)
            return
        manager.broadcast(event)
        manager.install(plugin)
        manager.broadcast(event)
        manager.broadcast_many([event, frames.encode(event)])
    assert plugin.events == [event] * 3
    assert other.events == []


@pytest.mark.parametrize(
    ("event", "named"),
    [
        (Block(b"x", -1), "Block.block_height: "),
        (Block(b"x", 1 << 64), "Block.block_height: "),
        (Block(b"x", 1.5), "Block.block_height: "),
        (Block("x", 1), "Block.block: "),
        (Block(b"x", 1, Meta(stream=-1)), "Meta.stream: "),
        (Block(b"x", 1, Meta(time_ns=1 << 63)), "Meta.time_ns: "),
        (MappingUpdate(b"p", b"m", "k", b"v", 1), "MappingUpdate.key: "),
        (AppEvent(40, "x", 1), "AppEvent.data: "),
    ],
)
def test_what_cannot_be_written_is_named(event, named) -> None:
    with pytest.raises((TypeError, OverflowError)) as caught:
        frames.encode(event)
    assert str(caught.value).startswith(named)
