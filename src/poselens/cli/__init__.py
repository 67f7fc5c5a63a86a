"""One thin file per command; results on stdout, all else on stderr.

Commands import what they need when they run, so that ``--help`` stays quick.
"""

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import cast

import typer

from poselens.cli.compare import compare
from poselens.cli.contrast import contrast
from poselens.cli.cost import cost
from poselens.cli.data import app as data
from poselens.cli.demo import demo
from poselens.cli.doctor import doctor
from poselens.cli.evaluate import evaluate
from poselens.cli.fuse import fuse
from poselens.cli.output import tell_error
from poselens.cli.pose import pose
from poselens.cli.predict import predict
from poselens.cli.report import report
from poselens.cli.run import run
from poselens.cli.train import app as train
from poselens.cli.weights import app as weights
from poselens.errors import EnvironmentFault, PoselensError, UsageError

app = typer.Typer(
    name="poselens",
    help="Fine-grained human action recognition from video and skeleton together.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data, name="data")
app.command("pose")(pose)
app.add_typer(train, name="train")
app.command("fuse")(fuse)
app.command("evaluate")(evaluate)
app.command("compare")(compare)
app.command("report")(report)
app.command("contrast")(contrast)
app.command("predict")(predict)
app.command("run")(run)
app.command("cost")(cost)
app.add_typer(weights, name="weights")
app.command("doctor")(doctor)
app.command("demo")(demo)


# typer carries a copy of click or imports it, depending on its version; either way this is the root
_MISUSE = cast("type[Exception]", typer.BadParameter.__mro__[1])

_ENVIRONMENT = {
    errno.EACCES: "ENV-001",
    errno.EPERM: "ENV-001",
    errno.EROFS: "ENV-001",
    errno.ENOSPC: "ENV-002",
    errno.EDQUOT: "ENV-002",
    errno.ENOMEM: "ENV-007",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 partly, 2 to 5 by kind of error, 70 our bug."""
    sys.exit(_run(list(sys.argv[1:] if arguments is None else arguments)))


def _run(arguments: list[str]) -> int:
    try:
        return _report_faults(arguments)
    except OSError as fault:
        # stdout itself is gone or full: point it elsewhere, or the flush at exit fails again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(fault, BrokenPipeError):
            return 141
        typer.echo(f"error[ENV-003]: cannot write to stdout: {fault.strerror}", err=True)
        return EnvironmentFault.exit_code


def _report_faults(arguments: list[str]) -> int:
    """Run a command and say what went wrong; only faults of stdout itself escape."""
    as_json = "--json" in arguments
    try:
        return _invoke(arguments)
    except PoselensError as fault:
        tell_error(fault, as_json=as_json)
        return fault.exit_code
    except _MISUSE as fault:
        return _misuse(fault, as_json=as_json)
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("interrupted", err=True)
        return 130
    except SystemExit as leave:
        if leave.code != 143:
            raise
        typer.echo("terminated", err=True)
        return 143
    except BrokenPipeError:
        raise
    except Exception as fault:
        return _unexpected(fault, as_json=as_json)


def _invoke(arguments: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        with command.make_context("poselens", arguments) as context:
            code = command.invoke(context)
    except typer.Exit as leave:
        code = leave.exit_code
    except SystemExit as leave:
        # rich leaves the program when nobody reads its tables
        if isinstance(leave.__context__, BrokenPipeError):
            raise leave.__context__ from None
        raise
    sys.stdout.flush()
    return int(code or 0)


def _misuse(fault: Exception, *, as_json: bool) -> int:
    """Report options and arguments that cannot be read, or give the help that was asked for."""
    message = str(fault.format_message())  # type: ignore[attr-defined] # click's own, untyped here
    if type(fault).__name__ == "NoArgsIsHelpError":
        typer.echo(message)
        return UsageError.exit_code
    context = getattr(fault, "ctx", None)
    path = "poselens" if context is None else context.command_path
    told = UsageError("CFG-011", message.rstrip(". "), mend=f"see {path} --help")
    tell_error(told, as_json=as_json)
    return told.exit_code


def _unexpected(fault: Exception, *, as_json: bool) -> int:
    """Tell the machine's faults, which any line may meet, from our own."""
    code = _ENVIRONMENT.get(fault.errno or 0) if isinstance(fault, OSError) else None
    if isinstance(fault, MemoryError):
        code = "ENV-007"
    # torch is not imported for its classes
    if type(fault).__name__ == "OutOfMemoryError" or "CUDA error: out of memory" in str(fault):
        code = "ENV-012"
    if code is not None:
        place = fault.filename if isinstance(fault, OSError) else None
        told = EnvironmentFault(code, str(getattr(fault, "strerror", fault)), file=place)
        tell_error(told, as_json=as_json)
        return told.exit_code
    return _our_fault(as_json=as_json)


def _our_fault(*, as_json: bool) -> int:
    """Keep the traceback of a bug in a file instead of throwing it at the user."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="poselens-error-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exc(file=file)
    told = PoselensError(
        "BUG-001",
        "this is a fault of poselens, not of your data",
        mend=f"report {file.name}",
    )
    tell_error(told, as_json=as_json)
    return told.exit_code
