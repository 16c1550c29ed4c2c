"""Help that is printed as it is written: the commands' docstrings, paragraphs and examples alike."""

from __future__ import annotations

import inspect

import click


class _Verbatim(click.Command):
    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the docstring with its line ends, indented as click does."""
        del ctx
        for line in ["", *inspect.cleandoc(self.help or "").splitlines()]:
            formatter.write(f"  {line}".rstrip() + "\n")


class TaughtCommand(_Verbatim):
    """A command whose help keeps its docstring's lines."""


class TaughtGroup(_Verbatim, click.Group):
    """The same for a group; its commands are `TaughtCommand`s."""

    command_class = TaughtCommand
    group_class = type
