"""One thin file per command; results on stdout, all else on stderr.

Commands import what they need when they run, so that ``--help`` stays quick.
"""

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence

import click
import typer

from poselens.cli.cost import cost
from poselens.cli.data import app as data
from poselens.cli.demo import demo
from poselens.cli.doctor import doctor
from poselens.cli.evaluate import evaluate
from poselens.cli.fuse import fuse
from poselens.cli.output import tell_error
from poselens.cli.predict import predict
from poselens.cli.report import report
from poselens.cli.run import run
from poselens.cli.train import app as train
from poselens.cli.weights import app as weights
from poselens.errors import PoselensError

app = typer.Typer(
    name="poselens",
    help="Fine-grained human action recognition from video and skeleton together.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data, name="data")
app.add_typer(train, name="train")
app.command("fuse")(fuse)
app.command("evaluate")(evaluate)
app.command("report")(report)
app.command("predict")(predict)
app.command("run")(run)
app.command("cost")(cost)
app.add_typer(weights, name="weights")
app.command("doctor")(doctor)
app.command("demo")(demo)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 partly, 2 to 5 by kind of error, 70 our bug."""
    sys.exit(_run(list(sys.argv[1:] if arguments is None else arguments)))


def _run(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        code = app(args=arguments, standalone_mode=False)
        sys.stdout.flush()
    except PoselensError as fault:
        tell_error(fault, as_json=as_json)
        return fault.exit_code
    except click.exceptions.NoArgsIsHelpError as fault:
        typer.echo(fault.format_message())
        return 2
    except click.ClickException as fault:
        fault.show()
        return fault.exit_code
    except (click.Abort, KeyboardInterrupt):
        typer.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:
        # nobody reads on: point stdout elsewhere so that the flush at exit does not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception:
        return _our_fault()
    return int(code or 0)


def _our_fault() -> int:
    """Keep the traceback of a bug in a file instead of throwing it at the user."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="poselens-error-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exc(file=file)
    typer.echo(
        f"error[BUG-001]: this is a fault of poselens, not of your data. Mend: report {file.name}",
        err=True,
    )
    return 70
