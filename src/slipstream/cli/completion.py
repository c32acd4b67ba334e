"""``slipstream completion``: scripts that let a shell complete commands, options and plugins."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from ._output import emit

_WHERE = {
    "bash": "slipstream completion bash > ~/.local/share/bash-completion/completions/slipstream",
    "zsh": 'slipstream completion zsh > "${fpath[1]}/_slipstream"',
    "fish": "slipstream completion fish > ~/.config/fish/completions/slipstream.fish",
}


@click.command(epilog="Example: " + _WHERE["bash"])
@click.argument("shell", type=click.Choice(list(_WHERE)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Write a script that completes commands, options, and the plugins of the running daemon."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"nothing is known of {shell}")
    root = context.find_root()
    script = kind(root.command, {}, "slipstream", "_SLIPSTREAM_COMPLETE").source()
    emit(f"# To keep it: {_WHERE[shell]}\n" if shell != "zsh" else "")
    emit(script)
