"""What each route does; its name in the table is that of the function here."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response, StreamingResponse

from slipstream import frames
from slipstream.errors import CaptureError, FrameError, PluginNotLoaded, SlipstreamError
from slipstream.events import EventKind, Mark
from slipstream.loaded import Plugin
from slipstream.server.answers import NO_MANAGER, Refused, refusal_of
from slipstream.server.describe import status_of, why_not_ready
from slipstream.server.limits import FOLLOWERS
from slipstream.server.openapi import description
from slipstream.server.page import page
from slipstream.server.routes import EVENTS, LINES
from slipstream.status import PluginState
from slipstream.streams import EventFile
from slipstream.streams.dead_letters import REDELIVERED, dead_letter_of
from slipstream.streams.writer import line_of

if TYPE_CHECKING:
    from slipstream.manager import PluginManager
    from slipstream.server.packages import Packages
    from slipstream.server.surface import Asked, Surface

FLUSH_SECONDS = 30.0
_AT_ONCE = 256  # dead letters that are read in one go
_MARK = EventKind.MARK.to_bytes(2, "little")


class Actions:
    """The routes of one application."""

    def __init__(self, app: Surface) -> None:
        """Answer for an application."""
        self._app = app

    # ---- Asking -------------------------------------------------------------------------

    def _manager(self) -> PluginManager:
        if self._app.manager is None or self._app.is_stopping:
            raise Refused(503, "the host is shutting down" if self._app.manager else NO_MANAGER)
        return self._app.manager

    def _plugin(self, asked: Asked) -> Plugin:
        plugins = self._manager().plugins
        plugin = plugins.get(asked.name)
        if plugin is None:
            loaded = ", ".join(list(plugins)) or "none"
            raise PluginNotLoaded(f"no plugin {asked.name} is loaded", f"loaded: {loaded}")
        return plugin

    async def list_plugins(self, asked: Asked) -> Response:
        """Names of the loaded plugins, or the whole status of each."""
        manager = self._manager()
        if not asked.number("status"):
            return JSONResponse(manager.list_plugins())
        return JSONResponse([self._status(plugin) for plugin in list(manager.plugins.values())])

    async def status(self, asked: Asked) -> Response:
        """Everything known of a plugin."""
        return JSONResponse(self._status(self._plugin(asked)))

    def _status(self, plugin: Plugin) -> dict[str, object]:
        packages = self._app.packages
        return status_of(plugin, None if packages is None else packages.about(plugin.name))

    async def logs(self, asked: Asked) -> Response:
        """A plugin's last lines, and those that come."""
        plugin, lines = self._plugin(asked), self._app.lines
        count = asked.number("lines")
        if not asked.number("follow"):
            return JSONResponse([line.as_json() for line in lines.last(plugin.name, count)])
        if len(lines.followers) >= FOLLOWERS:
            raise Refused(
                503, f"{FOLLOWERS} others follow logs already", headers={"Retry-After": "10"}
            )
        last = asked.headers.get("last-event-id", "")
        after = int(last) if last.isdecimal() and len(last) < 16 else None

        def goes_on() -> bool:
            with contextlib.suppress(SlipstreamError, Refused):
                return self._plugin(asked).name == plugin.name and self._app.is_good(asked.caller)
            return False

        events = lines.follow(plugin.name, count, after, goes_on)
        return StreamingResponse(events, media_type=EVENTS)

    async def crashes(self, asked: Asked) -> Response:
        """Crash reports, the newest first."""
        plugin = self._plugin(asked)
        return JSONResponse(await self._app.read(_crashes, plugin))

    async def dead_letters(self, asked: Asked) -> Response:
        """What a plugin refused, as JSON lines."""
        file = self._plugin(asked).dead_letter_file
        letters = _letters(file, asked.number("skip"), asked.number("limit"))

        async def content() -> AsyncIterator[bytes]:
            while some := await self._app.read(_some, letters):
                yield some

        return StreamingResponse(content(), media_type=LINES)

    async def healthz(self, _asked: Asked) -> Response:
        """The process answers."""
        return JSONResponse({"healthy": True})

    async def readyz(self, _asked: Asked) -> Response:
        """Every plugin runs."""
        reasons = [why_not_ready(plugin) for plugin in list(self._manager().plugins.values())]
        reasons += self._app.not_ready()
        reasons = [reason for reason in reasons if reason]
        if reasons:
            raise Refused(503, "not ready", *reasons)
        return JSONResponse({"ready": True})

    async def metrics(self, asked: Asked) -> Response:
        """Prometheus text, or OpenMetrics."""
        collect = self._app.metrics
        if collect is None:
            raise Refused(404, "no metrics are collected here")
        openmetrics = "application/openmetrics-text" in asked.headers.get("accept", "")
        body, content_type = await self._app.read(collect, openmetrics)
        return Response(body, headers={"Content-Type": content_type})

    async def openapi(self, asked: Asked) -> Response:
        """The description for programs."""
        return JSONResponse(description(self._app.network, asked.root, self._app.offers))

    async def page(self, _asked: Asked) -> Response:
        """The status page."""
        found = page()
        if found is None:
            raise Refused(404, "there is no page here")
        return Response(found.content, media_type="text/html", headers=found.headers)

    # ---- Changing -----------------------------------------------------------------------

    async def load(self, asked: Asked) -> Response:
        """Load a plugin from a config file."""
        manager = self._manager()

        def load() -> dict[str, object]:
            plugin = manager.load_plugin(self._app.folders.read(asked.named), wait=0.0)
            return {"loaded": plugin.name}

        return await self._change(asked, load)

    def _reload(self, plugin: Plugin, named: str) -> None:
        """Load a plugin anew: from a package if it comes from one and no file is named."""
        folders, packages = self._app.folders, self._app.packages
        if not named and packages is not None and packages.about(plugin.name) is not None:
            packages.reload(plugin.name, wait=0.0)
            return
        source = plugin.identity.config_file
        if not named and source is not None and folders.holds(source):
            named = str(source)
        config = folders.read(named) if named else None
        self._manager().reload_plugin(plugin.name, config, wait=0.0)

    async def upgrade(self, asked: Asked) -> Response:
        """Let another installed version of a package serve."""
        return await self._other_version(
            asked, lambda packages, name: packages.upgrade(name, asked.named, wait=0.0)
        )

    async def rollback(self, asked: Asked) -> Response:
        """Let the version before serve again."""
        return await self._other_version(
            asked, lambda packages, name: packages.rollback(name, wait=0.0)
        )

    async def _other_version(self, asked: Asked, do: Callable[[Packages, str], None]) -> Response:
        plugin, packages = self._plugin(asked), self._app.packages
        before = plugin.version

        def change() -> dict[str, object]:
            if packages is None or packages.about(plugin.name) is None:
                raise Refused(
                    422,
                    f"{plugin.name} does not come from a package",
                    f"next: replace its library, and then: slipstream plugins reload {plugin.name}",
                )
            try:
                do(packages, plugin.name)
            except SlipstreamError as error:
                raise _serves_on(plugin, error) from error
            return {
                "reloaded": plugin.name,
                "version": plugin.version,
                "previous_version": before,
            }

        return await self._change(asked, change)

    async def reload(self, asked: Asked) -> Response:
        """Load a plugin anew."""
        plugin = self._plugin(asked)
        before = plugin.version

        def reload() -> dict[str, object]:
            if plugin.path is None:
                raise Refused(422, f"{plugin.name} is written in Python and cannot be reloaded")
            try:
                self._reload(plugin, asked.named)
            except SlipstreamError as error:
                raise _serves_on(plugin, error) from error
            return {
                "reloaded": plugin.name,
                "version": plugin.version,
                "previous_version": before,
            }

        return await self._change(asked, reload)

    async def unload(self, asked: Asked) -> Response:
        """Flush and unload a plugin."""
        manager, name = self._manager(), self._plugin(asked).name

        def unload() -> dict[str, object]:
            manager.unload_plugin(name, wait=0.0)
            return {"unloaded": True}

        return await self._change(asked, unload)

    async def pause(self, asked: Asked) -> Response:
        """Hold a plugin's events back."""
        return await self._steer(asked, "paused", self._manager().pause)

    async def resume(self, asked: Asked) -> Response:
        """Deliver again."""
        return await self._steer(asked, "resumed", self._manager().resume)

    async def flush(self, asked: Asked) -> Response:
        """Wait until all is acknowledged."""
        manager = self._manager()

        def flush(name: str, *, wait: float) -> None:
            manager.flush_plugin(name, FLUSH_SECONDS, wait=wait)

        return await self._steer(asked, "flushed", flush)

    async def _steer(self, asked: Asked, word: str, do: Callable[..., None]) -> Response:
        name = self._plugin(asked).name

        def steer() -> dict[str, object]:
            do(name, wait=0.0)
            return {word: name}

        return await self._change(asked, steer)

    async def _change(self, asked: Asked, do: Callable[[], dict[str, object]]) -> Response:
        """Do something in a thread, and write down that it was done, or why not."""
        manager = self._manager()

        def change() -> dict[str, object]:
            begun, name = time.monotonic(), asked.name
            before = _digest(manager, name)
            code, message = 200, ""
            try:
                answer = do()
                name = str(answer.get("loaded", name))
            except BaseException as error:
                refused = refusal_of(error)
                code, message = refused.code, refused.message
                raise
            else:
                return answer
            finally:
                self._app.record(
                    {
                        "sub": asked.caller.subject,
                        "jti": asked.caller.token,
                        "from": asked.address,
                        "what": asked.route.name,
                        "plugin": name,
                        asked.route.field or "config_file": asked.named or None,
                        "digest_before": before,
                        "digest_after": _digest(manager, name),
                        "code": code,
                        "message": message,
                        "seconds": round(time.monotonic() - begun, 3),
                    }
                )

        return JSONResponse(await self._app.change(change))


def _serves_on(plugin: Plugin, error: SlipstreamError) -> Refused:
    """Return the answer to a change that failed, with what serves now."""
    refused = refusal_of(error)
    if refused.code in {422, 500}:
        serves = plugin.state is not PluginState.FAILED
        says = f"version {plugin.version} serves on" if serves else "no version serves"
        refused.chain = [*refused.chain, says]
    return refused


def _digest(manager: PluginManager, name: str) -> str | None:
    with contextlib.suppress(SlipstreamError):
        plugin = manager.plugins.get(name)
        return None if plugin is None else plugin.digest
    return None


def _crashes(plugin: Plugin) -> list[object]:
    found: list[tuple[float, int, object]] = []
    folder = plugin.folder
    if folder is not None:
        for file in folder.glob(f"crash-{plugin.name}-*.json"):
            # Removed or written meanwhile, or by the plugin, whose folder it is.
            with contextlib.suppress(
                OSError, ValueError, RecursionError, KeyError, TypeError, OverflowError
            ):
                report = json.loads(file.read_text(encoding="utf-8"))
                found.append((-float(report["time"]), len(found), report))
        found.sort()
    if not found and plugin.last_crash is not None:
        return [json.loads(plugin.last_crash.to_json())]
    return [report for _, _, report in found]


def _letters(file: Path | None, skip: int, limit: int) -> Iterator[bytes]:
    """Yield a line for each dead letter."""
    if file is None or not file.exists() or limit == 0:
        return
    try:
        with EventFile(file, on_warning=lambda _: None) as source:
            yield from islice(_letter_lines(source), skip, skip + limit)
    except (CaptureError, FrameError) as error:
        if file.stat().st_size > 16:  # a capture without an event is none that is damaged
            yield json.dumps({"error": error.message}).encode() + b"\n"


def _letter_lines(source: EventFile) -> Iterator[bytes]:
    mark: Mark | None = None
    for frame in source:
        if frame[6:8] == _MARK:
            event = frames.decode(frame)[0]
            mark = event if isinstance(event, Mark) else None
            continue
        letter = None if mark is None else dead_letter_of(mark)
        if letter is not None and mark is not None:
            said = {name: getattr(letter, name) for name in letter.__struct_fields__}
            said["redelivered"] = mark.name == REDELIVERED
            yield json.dumps({**said, "event": json.loads(line_of(frame))}).encode() + b"\n"
        mark = None


def _some(letters: Iterator[bytes]) -> bytes:
    return b"".join(islice(letters, _AT_ONCE))
