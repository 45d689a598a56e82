"""The command line: which commands there are, and how it ends when something is wrong.

What a command needs is imported when it runs, so that help is there at once.
"""

from __future__ import annotations

import inspect
import io
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from cli.commands.bench import app as bench_app
from cli.commands.compare import compare_command
from cli.commands.derive import app as derive_app
from cli.commands.evaluate import evaluate_command
from cli.commands.execute import execute_command
from cli.commands.explain import explain_command
from cli.commands.export import export_command
from cli.commands.front import front_command
from cli.commands.hw import app as hw_app
from cli.commands.models import app as models_app
from cli.commands.plot import plot_command
from cli.commands.report import report_command
from cli.commands.simulate import simulate_command
from cli.commands.solve import SolveCommand, solve_command
from cli.commands.sweep import sweep_command
from cli.commands.trace import trace_command
from cli.commands.transform import transform_command
from cli.interrupt import INTERRUPTED
from cli.process import COMMAND, process_started
from cli.show import console

NAME = "overlapim"
WRONG = 2

ClickException: type[Exception] = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)
"""Errors of the command line itself; depending on its version typer has them from click or of its own."""


def paragraphs(command: Callable[..., None]) -> str:
    """Return a docstring as help text: paragraphs on one line each, which are wrapped when they are shown."""
    parts = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(part if part.startswith(" ") else " ".join(part.split()) for part in parts)


app = typer.Typer(
    name=NAME,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("solve", cls=SolveCommand, help=paragraphs(solve_command))(solve_command)
app.command("sweep", help=paragraphs(sweep_command))(sweep_command)
app.command("evaluate", help=paragraphs(evaluate_command))(evaluate_command)
app.command("simulate", help=paragraphs(simulate_command))(simulate_command)
app.command("execute", help=paragraphs(execute_command))(execute_command)
app.command("transform", help=paragraphs(transform_command))(transform_command)
app.command("export", help=paragraphs(export_command))(export_command)
app.command("trace", help=paragraphs(trace_command))(trace_command)
app.command("explain", help=paragraphs(explain_command))(explain_command)
app.command("compare", help=paragraphs(compare_command))(compare_command)
app.command("report", help=paragraphs(report_command))(report_command)
app.command("front", help=paragraphs(front_command))(front_command)
app.command("plot", help=paragraphs(plot_command))(plot_command)
hw_app.add_typer(derive_app, name="derive")
app.add_typer(hw_app, name="hw")
app.add_typer(models_app, name="models")
app.add_typer(bench_app, name="bench")

Version = Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version.")]


@app.callback(invoke_without_command=True)
def overlapim(context: typer.Context, version: Version = False) -> None:
    """Map neural networks onto processing-in-memory chips so that their layers overlap.

    Examples:

      overlapim solve resnet18 -o results
      overlapim evaluate results/solution.yaml
      overlapim hw list
    """
    if version:
        from solver.core import running
        from solver.versions import DISTRIBUTION, installed

        print(f"{NAME} {installed(DISTRIBUTION) or '(not installed)'}, {running()} core")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def run(arguments: Sequence[str], started: float) -> int:
    """Run one command and return its exit code; `started` is when, by `time.monotonic`, its time began."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    command: Any = typer.main.get_command(app)
    COMMAND.set(shlex.join([NAME, *arguments]))
    try:
        code = command.main(list(arguments), prog_name=NAME, standalone_mode=False, obj=started)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _interrupted()
    except typer.Abort:
        return _interrupted()
    except ClickException as error:
        return _misused(error)
    except BrokenPipeError:
        return _unread()
    except MemoryError:
        console.error("the memory of this machine does not suffice")
        return 1
    except OSError as error:
        console.error((error.strerror or str(error)).lower())
        return 1
    except ValueError as error:
        from overlapim_files import InputError  # not before: it takes longer than all of the help

        if not isinstance(error, InputError):
            raise
        console.error(str(error))
        return WRONG
    return code if isinstance(code, int) else 0


def _misused(error: Any) -> int:
    """Say in one line what is wrong with the command line, and where help is."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else NAME
    message = error.format_message().rstrip(".")
    commands = getattr(context and context.command, "commands", {})
    if commands and "Did you mean" not in message and "command" in message:
        message += f"; give one of {', '.join(commands)}"
    console.error(f"{message} (see {path} --help)")
    return WRONG


def _interrupted() -> int:
    console.say("interrupted")
    return INTERRUPTED


def _unread() -> int:
    """End quietly when nobody reads the output any more, as in `overlapim models list | head -1`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def main() -> None:
    """Run the command of this process and end it."""
    sys.stdout = sys.stdout or io.StringIO()  # None if the caller has closed it
    sys.stderr = sys.stderr or io.StringIO()
    sys.exit(run(sys.argv[1:], process_started()))


if __name__ == "__main__":
    main()
