"""The table that the constructor returns."""

from __future__ import annotations

from dataclasses import fields

from slipstream._native import lib
from slipstream.check.subject import Table
from slipstream.check.trial import Findings, SkipError, Trial, check, tables

_SIZE_MAX = 65536
_KNOWN_FLAGS = sum(getattr(lib, name) for name in dir(lib) if name.startswith("SLIPSTREAM_FLAG_"))


def _refused(trial: Trial, *numbers: int) -> Findings:
    """Yield why a table was refused, where that is one of these reasons."""
    script = trial.constructed()
    script.destroy()
    for refusal in trial.play(script, may_refuse=True).of(lib.SS_PLAYED_REFUSED):
        if refusal.status in numbers:
            yield refusal.words


def _table(trial: Trial) -> Table:
    script = trial.constructed()
    script.destroy()
    script.close()
    found = tables(trial.play(script, may_refuse=True))
    if not found:
        raise SkipError("there is no table that can be read")
    return found[0]


@check("table.readable")
def readable(trial: Trial) -> Findings:
    """It is readable as far as its own size says."""
    return _refused(trial, lib.SS_REFUSED_TABLE_UNREADABLE)


@check("table.size")
def size(trial: Trial) -> Findings:
    """Its size is that of a table."""
    yield from _refused(trial, lib.SS_REFUSED_TABLE_TOO_SMALL)
    script = trial.constructed()
    script.destroy()
    for table in tables(trial.play(script, may_refuse=True)):
        if table.struct_size > _SIZE_MAX:
            yield f"struct_size is {table.struct_size:,}: no table is larger than {_SIZE_MAX:,}"


@check("table.minor")
def minor(trial: Trial) -> Findings:
    """It asks for no newer host than it was made for."""
    yield from _refused(trial, lib.SS_REFUSED_HOST_TOO_OLD)
    table = _table(trial)
    if table.min_host_minor > table.abi_minor:
        yield (
            f"min_host_minor is {table.min_host_minor}, but abi_minor, from the header that it was "
            f"built with, is {table.abi_minor}"
        )


@check("table.functions")
def functions(trial: Trial) -> Findings:
    """What has to be there is."""
    yield from _refused(trial, lib.SS_REFUSED_FUNCTION_MISSING, lib.SS_REFUSED_FLUSH_MISSING)
    table = _table(trial)
    if "destroy" not in table.functions:
        yield "destroy is NULL"
    if table.flags & lib.SLIPSTREAM_FLAG_EXPLICIT_ACK and "flush" not in table.functions:
        yield "flush is NULL, although it has SLIPSTREAM_FLAG_EXPLICIT_ACK"
    if trial.subject.kinds and "on_broadcast" not in table.functions:
        yield "on_broadcast is NULL, although it subscribes to events"


@check("table.pointers")
def pointers(trial: Trial) -> Findings:
    """Each function lies in code."""
    yield from _refused(trial, lib.SS_REFUSED_FUNCTION_INVALID)
    for name in sorted(_table(trial).outside):
        yield f"{name} points to memory that cannot be executed"


@check("table.unchanged")
def unchanged(trial: Trial) -> Findings:
    """It stays as it was given."""
    script = trial.constructed()
    script.call(lib.SS_PLAY_TABLE)
    script.load(trial.subject.config())
    script.call(lib.SS_PLAY_TABLE)
    script.subscribed()
    trial.send(script)
    script.unload()
    script.call(lib.SS_PLAY_TABLE)
    script.destroy()
    found = tables(trial.play(script))
    for later in found[1:]:
        for field in fields(Table):
            before, now = getattr(found[0], field.name), getattr(later, field.name)
            if before != now:
                yield f"{field.name} was {_shown(before)} and became {_shown(now)}"


def _shown(value: object) -> str:
    return " ".join(sorted(value)) if isinstance(value, frozenset) else repr(value)


@check("table.name")
def name(trial: Trial) -> Findings:
    """Its name is one."""
    return _refused(trial, lib.SS_REFUSED_NAME_INVALID)


@check("table.version")
def version(trial: Trial) -> Findings:
    """Its version is one."""
    return _refused(trial, lib.SS_REFUSED_VERSION_INVALID)


@check("table.stable")
def stable(trial: Trial) -> Findings:
    """It says the same of itself each time."""
    first, *others = tables(trial.play(trial.constructions(3), may_refuse=True))
    for other in others:
        for field in ("name", "version", "flags", "min_host_minor"):
            if getattr(first, field) != getattr(other, field):
                yield f"{field} was {getattr(first, field)!r}, then {getattr(other, field)!r}"


@check("table.flags")
def flags(trial: Trial) -> Findings:
    """It has flags that mean something."""
    table = _table(trial)
    unknown = table.flags & ~_KNOWN_FLAGS
    if unknown:
        yield f"the flags {unknown:#x} are not part of this contract, and are ignored"
    both = lib.SLIPSTREAM_FLAG_CONCURRENT | lib.SLIPSTREAM_FLAG_BATCH
    if table.flags & both == both:
        yield "CONCURRENT with BATCH: runs that overlap have no order"


@check("table.unknown-extension")
def unknown_extension(trial: Trial) -> Findings:
    """What it does not offer it says it does not."""
    script = trial.constructed()
    asked = [
        script.extension(name)
        for name in (b"org.example.nothing/1", b"slipstream.nothing/1", b"slipstream.payload/99")
    ]
    script.destroy()
    script.close()
    played = trial.play(script)
    for step in asked:
        found = played.one(lib.SS_PLAYED_VALUE, step)
        if found is not None and found.a:
            yield f"{played.steps[step].says} gave a table"
