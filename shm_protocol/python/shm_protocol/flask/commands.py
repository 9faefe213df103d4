"""`flask bridge`: doctor and top with the app's settings, and a call by hand."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from ..cli import command_line
from ..errors import BridgeError
from . import settings

bridge = AppGroup("bridge", help="Look after the bridge to TypeScript, with the settings of this app.")

_PASSED_ON = {"ignore_unknown_options": True, "help_option_names": []}


class _Call(click.Command):
    """Takes -5 for a number, not for options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, to which what begins with a hyphen is an option; JSON may as well begin with a space."""
        return super().parse_args(ctx, [f" {arg}" if arg.startswith("-") and _is_json(arg) else arg for arg in args])


@bridge.command(context_settings=_PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@with_appcontext
def doctor(arguments: tuple[str, ...]) -> None:
    """Check what usually goes wrong, and say what to do. Takes the arguments of `shm-polyglot doctor`."""
    _run("doctor", arguments)


@bridge.command(context_settings=_PASSED_ON, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@with_appcontext
def top(arguments: tuple[str, ...]) -> None:
    """Watch connections, calls and latencies live. Takes the arguments of `shm-polyglot top`."""
    _run("top", arguments)


@bridge.command(cls=_Call)
@click.argument("method", metavar="NAME")
@click.argument("arguments", nargs=-1, metavar="[ARGUMENT]...")
@click.option("--timeout", type=float, metavar="SECONDS", help="How long to wait (default: as the app does).")
@click.option("--stream", is_flag=True, help="The function gives an iterator: print a line for each item.")
@with_appcontext
def call(method: str, arguments: tuple[str, ...], timeout: float | None, *, stream: bool) -> None:
    """Call an exposed TypeScript function, and print what it gives, as JSON.

    An ARGUMENT is JSON where it can be read as that, -5 as well, and text where not:
    `flask bridge call shop.total '[1, 2]' EUR`. Text that begins with a hyphen stands behind --.
    """
    of_app = current_app.extensions["shm_polyglot"]
    given = [_argument(text) for text in arguments]
    options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
    try:
        if stream:
            for item in of_app.stream(method, *given, **options):
                click.echo(_shown(item))
        else:
            click.echo(_shown(of_app.call(method, *given, **options)))
    except BridgeError as error:
        click.echo(f"{error.code}: {error}", err=True)
        sys.exit(1)
    except (TypeError, ValueError) as error:
        click.echo(f"flask bridge call: {error}", err=True)
        sys.exit(2)


def _run(command: str, arguments: tuple[str, ...]) -> None:
    # The command reads the environment, as whoever started this process did.
    os.environ.update(settings.variables(current_app.config))
    sys.exit(command_line.main([command, *arguments]))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _argument(text: str) -> Any:
    return json.loads(text) if _is_json(text) else text


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
