"""Why a library, or the one that a config names, does or does not load."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slipstream.config import PluginConfig, load_config, resolve_secrets, settle_own
from slipstream.errors import PluginLoadError, SlipstreamError
from slipstream.library import (
    PluginInfo,
    PrivateCopy,
    check_library_path,
    kind_name,
    read_file,
    verify_digest,
)

if TYPE_CHECKING:
    from slipstream.config import JsonValue

CONFIG_ENDINGS = (".json5", ".json", ".toml", ".yaml", ".yml")
"""A file that ends so is read as a config; what is no JSON5 is refused in words of configs."""

_LOAD_TIMEOUT = 20.0
_LDD_TIMEOUT = 20.0
_LAST_WORDS = 500
_UNRESOLVED = re.compile(r"^\s*(\S+) => not found|^undefined symbol: (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Step:
    """One step on the way to a loaded plugin.

    Attributes:
        name: What was looked at.
        ok: Whether it is as it must be.
        detail: What was found.
        hint: The next step if it is not.
    """

    name: str
    ok: bool
    detail: str
    hint: str = ""


def look_at(path: Path, *, insecure: bool) -> Iterator[Step]:
    """Yield the steps for a library or a config file, as far as they lead.

    The library's code runs, but only its constructor and `destroy`, in another process.

    Args:
        path: A library; a config file if it ends in .json5 or .json.
        insecure: Accept libraries that others could replace.
    """
    config = None
    try:
        if path.suffix in CONFIG_ENDINGS:
            config = load_config(path)
            yield Step("config", ok=True, detail=_about(config))
            resolved = resolve_secrets(config.own, config.folder, source=config.source)
            yield Step("secrets", ok=True, detail=f"{len(resolved.secrets)} resolved")
            path = config.libpath
        library = check_library_path(path, insecure=insecure)
        yield Step("path", ok=True, detail=str(library))
        if config is not None and config.sha256 is not None:
            verify_digest(library, config.sha256)
            yield Step("sha256", ok=True, detail=config.sha256)
        yield from _look_at_file(library, config)
        loaded = _load(library)
        # The loader has the last word: what ldd misses may come from the host itself.
        needed = _needed(library, loaded=loaded.ok)
        if needed is not None:
            yield needed
        yield loaded
    except SlipstreamError as error:
        refusal = getattr(error, "refusal", None)
        detail = f"{error.message} (refusal: {refusal})" if refusal else error.message
        yield Step("refused", ok=False, detail=detail, hint=error.hint)


def _look_at_file(library: Path, config: PluginConfig | None) -> Iterator[Step]:
    """Look at the file itself, what it says of the plugin, and whether the config fits."""
    file = read_file(library)
    if file.foreign is not None:
        raise file.foreign
    info = file.info()
    yield Step("file", ok=True, detail=str(file))
    if info is None:
        return
    keys = [] if info.config_schema is None else describe_keys(info.config_schema)
    about = [f"{info.name} {info.version}, {describe(info)}", *(f"key {key}" for key in keys)]
    yield Step("info", ok=True, detail="\n".join(about))
    if config is not None and info.config_schema is not None:
        settle_own(config, info.config_schema)
        yield Step("keys", ok=True, detail="the plugin's own keys are as its info says")


def describe(info: PluginInfo) -> str:
    """Say in a line what a plugin's info tells of its wishes."""
    kinds = "any kind" if info.kinds is None else f"kinds {_words(map(kind_name, info.kinds))}"
    grants = f", wants {_words(info.grants)}" if info.grants else ""
    return f"{kinds}{grants}"


def describe_keys(schema: Mapping[str, JsonValue]) -> Iterator[str]:
    """Yield a text for each key that a schema names: what it may be and, below, what it is for."""
    properties, required = schema.get("properties"), schema.get("required")
    needed = required if isinstance(required, list) else []
    for name, one in (properties if isinstance(properties, dict) else {}).items():
        rules = dict(one) if isinstance(one, dict) else {}
        text = rules.pop("description", None)
        said = ", ".join(f"{rule} {json.dumps(value)}" for rule, value in rules.items())
        about = "" if text is None else f"\n    {text}"
        yield f"{name}{' (required)' if name in needed else ''}: {said}{about}"


def _words(words: Iterable[str]) -> str:
    return " ".join(words) or "none"


def _about(config: PluginConfig) -> str:
    parts = [f"libpath {config.libpath}"]
    if config.mode is not None:
        parts.append(f"mode {config.mode}")
    if not config.enabled:
        parts.append("enabled: false, so it is left out")
    return ", ".join(parts)


def _needed(library: Path, *, loaded: bool) -> Step | None:
    """Ask the loader which libraries and symbols it does not find; None if there is no ldd."""
    tool = shutil.which("ldd")
    if tool is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - the library is one that is about to be loaded
            [tool, "-r", str(library)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LDD_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    missing = sorted({a or b for a, b in _UNRESOLVED.findall(done.stdout + done.stderr)})
    if missing and not loaded:
        return Step(
            "needed libraries",
            ok=False,
            detail=f"not found: {', '.join(missing)}",
            hint="install what holds them, link the plugin with it, or set its RUNPATH",
        )
    count = len([line for line in done.stdout.splitlines() if "=>" in line])
    host = f", but not {', '.join(missing)}: the host has it" if missing else ""
    return Step("needed libraries", ok=True, detail=f"{count} found{host}")


def _load(library: Path) -> Step:
    """Open and construct it in another process, which it may crash."""
    command = [sys.executable, "-P", "-m", "slipstream.check.load_probe"]
    with tempfile.TemporaryFile() as words, tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "answer"
        try:
            code = subprocess.run(  # noqa: S603 - our own interpreter
                [*command, str(library), str(told), str(_LOAD_TIMEOUT)],
                stdin=subprocess.DEVNULL, stdout=words, stderr=words,
                timeout=2 * _LOAD_TIMEOUT, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            code = None
        words.seek(0)
        last = words.read()[-_LAST_WORDS:].decode(errors="replace").strip()
        answer = told.read_bytes() if told.exists() else b""
    _clean_up(library)
    if answer:
        return _answered(json.loads(answer))
    return _died(code, last)


def _clean_up(library: Path) -> None:
    """Remove the private copy that a crashed probe has left: making one removes old ones."""
    try:
        PrivateCopy(library).close()
    except PluginLoadError:
        return


def _answered(answer: dict[str, object]) -> Step:
    if "refusal" in answer:
        detail = f"{answer['message']} (refusal: {answer['refusal']})"
        return Step("load", ok=False, detail=detail, hint=str(answer["hint"]))
    detail = f"{answer['name']} {answer['version']}, ABI minor {answer['abi_minor']}"
    return Step("load", ok=True, detail=f"constructed and destroyed: {detail}")


def _died(code: int | None, last: str) -> Step:
    if code is None:
        what = f"did not return within {2 * _LOAD_TIMEOUT:g} seconds"
    elif code < 0:
        what = f"crashed with {signal.Signals(-code).name}"
    else:
        what = f"ended the process with exit code {code}"
    said = f"; last output: {last}" if last else ""
    return Step(
        "load",
        ok=False,
        detail=f"{what}, in a static constructor, slipstream_create_plugin_v1 or destroy{said}",
        hint="run the constructor under a debugger, or build with -g -fsanitize=address,undefined",
    )
