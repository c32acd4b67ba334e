"""``slipstream redeliver``: offer a plugin's dead letters to it again."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import click

from slipstream.config import load_config
from slipstream.manager import PluginManager
from slipstream.streams.dead_letters import DeadLetterFile

from ._errors import Failure, Stopped, failure_of, report
from ._logging import Settings
from ._output import emit, say
from ._paths import PATH, TEXT_PATH
from ._progress import progress_bar
from ._signals import StopSignals
from .run import DEFAULT_MODE, Report, Run, as_json_object, refuse_losses, show_report


@click.command(
    epilog="Example: slipstream redeliver data/ledger/dead-letters.slip "
    "--slipstream-config ledger.json5"
)
@click.argument("file", metavar="FILE", type=TEXT_PATH)
@click.option(
    "--slipstream-config",
    "config_path",
    metavar="FILE",
    type=TEXT_PATH,
    required=True,
    help="The plugin's config.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of a table.")
@click.option(
    "--insecure-paths", is_flag=True, help="Load a library that other users could replace, too."
)
@click.option(
    "--data-dir",
    metavar="DIR",
    type=PATH,
    help="Where the plugin has its folder.",
)
@click.option("--no-progress", is_flag=True, help="Show no progress bar on a terminal.")
@click.pass_obj
def redeliver(  # noqa: PLR0913 - the options of the command
    settings: Settings,
    *,
    file: str,
    config_path: str,
    as_json: bool,
    insecure_paths: bool,
    data_dir: Path | None,
    no_progress: bool,
) -> int:
    """Load a plugin and offer it again what it refused: its own dead letters in FILE.

    Each event has its old stream and sequence. When all are settled, they are marked in FILE as
    redelivered. If the plugin refuses an event again, that is a new dead letter. If you break it
    off, nothing is marked.
    """
    result = Report()
    failure: Failure | None = None
    marked = 0
    left: dict[str, int] = {}
    with StopSignals() as signals:
        try:
            config = load_config(config_path)
            with signals.interruptible():  # whoever opens a FIFO waits for its writer
                letters = DeadLetterFile(file, on_warning=say)
            with letters as source:
                manager = PluginManager(
                    DEFAULT_MODE,
                    data_dir=data_dir,
                    insecure_paths=insecure_paths,
                    log_level=settings.log_level,
                )
                with manager:
                    run = Run(result, signals, source, manager)
                    with signals.interruptible():
                        source.plugin = manager.load_plugin(config).name
                    source.is_wanted = manager.has_subscribers
                    run.do([], progress_bar(source, shown=not (as_json or no_progress)))
                left = source.left
                if not any(p.counters.dead_unkept or p.counters.lag for p, _ in result.plugins):
                    marked = source.settle()
            refuse_losses(result)
        except (Exception, Stopped) as error:  # noqa: BLE001 - all of it is in the report
            failure = failure_of(error)
    with contextlib.suppress(click.exceptions.Exit):  # nobody reads it; the code still counts
        if as_json:
            more = {"redelivered": marked, "left": left}
            emit(json.dumps(as_json_object(result, failure) | more) + "\n")
        elif result.plugins:
            show_report(result)
            for reason, count in left.items():
                emit(f"{count:,} left: {reason}\n")
            emit(f"{marked:,} redelivered\n")
    if failure is None:
        return 0
    report(failure, traceback=settings.debug)
    return failure.code
