"""What is checked, made of what people give: a library, its config, events, and its quirks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream import frames, streams
from slipstream._platform import HAS_PROCESS_MODE
from slipstream.check.library_file import CONFIG_ENDINGS
from slipstream.check.subject import QUIRKS, Subject, file_of
from slipstream.config import (
    MAX_CONFIG_BYTES,
    Document,
    PluginConfig,
    closest,
    load_config,
    resolve_secrets,
    settle_own,
    shown,
)
from slipstream.errors import CaptureError, ConfigError, FrameError
from slipstream.files import FileProblem, read_small
from slipstream.text import is_utf8, printable

if TYPE_CHECKING:
    from slipstream.config import JsonValue, ResolvedConfig
    from slipstream.events import Event
    from slipstream.library import LibraryFile, PluginInfo

_log = logging.getLogger("slipstream")

QUIRKS_ENDING = ".quirks.json5"
"""Of the file beside a library that says what it declares to be: ``mine.quirks.json5``."""

_EVENTS_OF_A_KIND = 64  # that are tried, however many a file holds
_SLOW = 10.0  # times longer than usual, for one that says that it starts slowly


def subject_of(
    file: Path,
    *,
    config: Path | None = None,
    quirks: Path | None = None,
    events: Mapping[int, Sequence[Event]] | None = None,
    seed: int = 1,
) -> Subject:
    """Return what is to be checked.

    Args:
        file: A library; or a config file (.json5, .json), which names one.
        config: The plugin's own keys, or a whole config of slipstream. None: what `file` says if
            it is a config; else the sample config of the library's info, if there is one.
        quirks: What the plugin declares to be, beside what the file next to it says.
        events: Events of its own kinds that it accepts.
        seed: Of all that is left to chance.

    Raises:
        ConfigError: One of these files cannot be read, or says something that is not known.
    """
    whole = load_config(file) if file.suffix in CONFIG_ENDINGS else None
    library = (file if whole is None else whole.libpath).absolute()
    if not is_utf8(str(library)):
        raise ConfigError(
            f"the path {printable(str(library))} is not UTF-8, and the plugin is told its config's "
            "folder in UTF-8",
            "rename the folder or the file, or move the plugin elsewhere",
        )
    found, info = file_of(library)
    if config is not None:
        own = _keys_of(config, info)
    elif whole is not None:
        own = settle_own(whole, None if info is None else info.config_schema)
    else:
        sample = None if info is None else info.sample_config
        own = resolve_secrets(dict(sample or {}), library.parent)
    if own.own and (source := file if config is None and whole is not None else config):
        _log.warning(
            "the plugin gets the keys of a config, and writes what it makes of the test events to "
            "where they say",
            extra={"config": printable(str(source))},
        )
    declared = quirks_of(library, quirks)
    return Subject(
        library,
        own.own,
        declared,
        events or {},
        seed,
        slow=_SLOW if "slow-start" in declared else 1.0,
        foreign=_why_not_here(found),
        hidden=frozenset(own.forms),
    )


def _why_not_here(file: LibraryFile | None) -> str:
    """Return why nothing of a library runs, without the path that stands before; "" if it does."""
    if file is not None and file.foreign is not None:
        message = file.foreign.message
        return f"nothing of it runs here: it {message[message.find(' is ') + 1 :]}"
    if not HAS_PROCESS_MODE:
        return (
            "its file was looked at, but nothing of it was run: each check that runs a plugin does "
            "so in a process of its own, as mode process does, which exists on Linux only"
        )
    return ""


def _text_of(path: Path, what: str) -> str:
    problem = FileProblem("is not UTF-8", found=True)
    try:
        return read_small(path, MAX_CONFIG_BYTES).decode("utf-8-sig")
    except FileProblem as found:
        problem = found
    except UnicodeDecodeError:
        pass
    raise ConfigError(
        f"{what} {printable(str(path))} {problem.reason}", problem.hint("give a JSON5 text file")
    )


def _keys_of(path: Path, info: PluginInfo | None) -> ResolvedConfig:
    document = Document(path.absolute(), text=_text_of(path, "the config file"))
    if "libpath" not in document.root:
        return resolve_secrets(dict(document.root), path.absolute().parent, source=path)
    whole = PluginConfig.from_document(document, path.absolute().parent)
    return settle_own(whole, None if info is None else info.config_schema)


# ---- Quirks ------------------------------------------------------------------------------------


def quirks_of(library: Path, given: Path | None = None) -> dict[str, str]:
    """Return what a plugin declares to be, each with its reason.

    Args:
        library: A file beside it, of its name with `QUIRKS_ENDING`, is read, if there is one.
        given: A further file, which goes before that.

    Raises:
        ConfigError: A file cannot be read, or says something that is not known.
    """
    beside = library.with_name(library.stem + QUIRKS_ENDING)
    declared = _read_quirks(beside) if beside.is_file() else {}
    return declared | (_read_quirks(given) if given is not None else {})


def _read_quirks(path: Path) -> dict[str, str]:
    document = Document(path.absolute(), text=_text_of(path, "the quirks file"))
    declared: dict[str, str] = {}
    for name, reason in document.root.items():
        if name not in QUIRKS:
            near = closest(name, QUIRKS)
            known = f'did you mean "{near}"?' if near else f"known are {', '.join(QUIRKS)}"
            raise document.error(
                ConfigError, f"there is no quirk {shown(name)}", known, (name,), at_key=True
            )
        if not isinstance(reason, str) or not reason.strip():
            raise document.error(
                ConfigError,
                f"{name} is {_told(reason)}, and must be the reason, a text",
                f'write {name}: "why it is so"',
                (name,),
            )
        declared[name] = " ".join(reason.split())
    return declared


def _told(value: JsonValue) -> str:
    return "empty" if isinstance(value, str) else shown(value)


# ---- Events ------------------------------------------------------------------------------------


def events_of(path: str, *, on_warning: streams.Warn) -> dict[int, list[Event]]:
    """Read events that a plugin accepts, by their kind.

    Args:
        path: A capture or JSON lines.
        on_warning: Gets a sentence when something in the file is left out.

    Raises:
        CaptureError: It cannot be read.
    """
    found: dict[int, list[Event]] = {}
    for frame in streams.read_events(path, on_warning=on_warning):
        try:
            event = frames.decode(frame)[0]
        except FrameError as error:
            raise CaptureError(f"{printable(path)}: {error.message}", error.hint) from None
        of_kind = found.setdefault(int(event.kind), [])
        if len(of_kind) < _EVENTS_OF_A_KIND:
            of_kind.append(event)
    return found
