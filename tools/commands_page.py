"""Write the tables of options in docs/commands.md out of the commands themselves.

python tools/commands_page.py

`tests/test_reference.py` holds the page against the code.
"""

from __future__ import annotations

import re
from pathlib import Path

import click

from slipstream.cli import COMMANDS, cli

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = "commands.md"
_BEGIN = re.compile(r"<!-- options of (\S+): made by tools/commands_page.py -->\n")
_END = "<!-- end of options -->"
_CODE = re.compile(
    r"(?<![\w`/-])(--[a-z](?:[\w.-]*\w)?|\$[A-Z_]+(?:/[\w$]+)*|file:///\.\.\.|(?:unix|tcp):[A-Z:]*[A-Z]|/metrics|"
    r"[\w.-]+\.(?:json5?|h|lock|py|toml|txt|pk)|\d+/s|0[0-7]{3}|on_load|SIG[A-Z0-9]+)(?!\w)"
)


def _names(option: click.Option) -> str:
    """How an option is written, with what it takes."""
    hidden = {"--no-" + name.removeprefix("--") for name in option.opts}
    names = [name for name in (*option.opts, *option.secondary_opts) if name not in hidden]
    takes = "" if option.is_flag or option.count else f" {option.make_metavar(_CONTEXT)}"
    if isinstance(option.type, click.Choice) and takes:
        takes = " WORD"
    return ", ".join(f"`{name}{takes}`" for name in names)


_CONTEXT = click.Context(cli)


def _says(option: click.Option) -> str:
    text = _CODE.sub(r"`\1`", (option.help or "").replace("|", "\\|").replace("<", "&lt;"))
    usual = option.get_help_extra(_CONTEXT).get("default")
    known = f" Default: `{usual}`." if usual is not None else ""
    needed = " Required." if option.required else ""
    if isinstance(option.type, click.Choice) and not option.is_flag:
        text = f"{text} One of {', '.join(f'`{word}`' for word in option.type.choices)}."
    named = f" Or `${option.envvar}`." if isinstance(option.envvar, str) else ""
    named = "" if str(option.envvar) in text else named
    return f"{text}{named}{known}{needed}".strip()


def _options(command: click.Command) -> dict[str, str]:
    """The options of a command, and what each does."""
    return {
        _names(one): _says(one)
        for one in command.params
        if isinstance(one, click.Option) and not one.hidden
    }


def _whose(words: list[str], every: int) -> str:
    return "all" if len(words) == every else ", ".join(f"`{word}`" for word in words)


def table(name: str) -> str:
    """Return the table of one command; of a group, what its commands share comes first."""
    command = cli if name == "slipstream" else cli.get_command(_CONTEXT, name)
    if not isinstance(command, click.Group) or command is cli:
        rows = [f"| {names} | {says} |" for names, says in _options(command or cli).items()]
        return "\n".join(["| option | meaning |", "|---|---|", *rows])
    found: dict[tuple[str, str], list[str]] = {}
    for word, one in command.commands.items():
        for row in _options(one).items():
            found.setdefault(row, []).append(word)
    shared = sorted(found.items(), key=lambda row: -len(row[1]))
    every = len(command.commands)
    rows = [f"| {names} | {_whose(of, every)} | {says} |" for (names, says), of in shared]
    return "\n".join(["| option | of | meaning |", "|---|---|---|", *rows])


def _commands() -> str:
    rows = [f"| [`{name}`](#{name}) | {says} |" for name, (_, says) in COMMANDS.items()]
    return "\n".join(["| command | does |", "|---|---|", *rows])


def page() -> str:
    """Return the page with its tables as they have to be."""
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    first, *others = re.split(_BEGIN, text)
    parts = [first]
    for name, rest in zip(others[::2], others[1::2], strict=True):
        begin = f"<!-- options of {name}: made by tools/commands_page.py -->"
        made = _commands() if name == "all" else table(name)
        parts.append(f"{begin}\n\n{made}\n\n{_END}{rest.partition(_END)[2]}")
    return "".join(parts)


def pages() -> dict[str, str]:
    """Return the pages, by their names."""
    return {PAGE: page()}


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
