"""The application, how its commands end in an error, and what several of them take."""

import io
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

import lliptools
from lliptools.errors import InvalidInput, UnsupportedLayer

if TYPE_CHECKING:
    from torch import nn

PATIENCE = 15.0  # seconds


class _Commands(TyperGroup):
    """Commands whose errors are a message and exit code 2: what went wrong is in the sentence, not in the stack."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (InvalidInput, UnsupportedLayer, FloatingPointError) as error:
            raise _exit(error, f"{error}") from error
        except BrokenPipeError:  # as of `| head`, which typer knows
            raise
        except OSError as error:
            said = InvalidInput(
                expected="files and folders that can be read and written",
                got=f"{error}",
                cause="a full disk, a path that does not exist or may not be used, or a file where a folder should be",
                next_step="make room or name another path, then run the same command again",
            )
            raise _exit(error, f"{said}") from error


def _exit(error: Exception, sentence: str) -> typer.Exit:
    """Exit code 2, after the sentence was said.

    Of the processes that torchrun starts, the first speaks for all. Another one speaks when it is still there after a
    while: it would have been stopped, had the first failed too.
    """
    if os.environ.get("RANK", "0") != "0":
        time.sleep(PATIENCE)
    typer.echo(f"{type(error).__name__}: {sentence}", err=True)
    return typer.Exit(2)


app = typer.Typer(cls=_Commands, no_args_is_help=True, help="Local Lipschitz bounds of neural networks.")


def _version(asked: bool) -> None:
    if asked:
        print(f"lliptools {lliptools.__version__}")
        raise typer.Exit


@app.callback()
def _commands(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Keep every command as one of its own, and have signs that a console cannot print replaced."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _writable(path: Path | None) -> Path | None:
    """The path of an option, refused before the work where it cannot be written."""
    from lliptools.storage import check_writable

    if path not in (None, Path("-")):
        check_writable(path)
    return path


def _bounds() -> list[str]:
    """The names of the registry."""
    from lliptools.bounds import BOUNDS

    return [*BOUNDS]


def _known(names: list[str]) -> list[str]:
    """The names of bounds, refused before the work where one is not in the registry."""
    if unknown := [name for name in names if name not in _bounds()]:
        raise typer.BadParameter(f"{', '.join(unknown)} is not one of {', '.join(_bounds())}")
    return names


_HELP = "An upper bound of lliptools.BOUNDS by its name, repeatable."
Bounds = Annotated[list[str], typer.Option("--bound", help=_HELP, callback=_known, autocompletion=_bounds)]
Network = Annotated[
    str, typer.Argument(help="A shipped network, an .onnx or .pt2 file, or weights: .safetensors, .pth, .npz.")
]
Points = Annotated[Path, typer.Option("--input", help="An .npy file with the points, (points, *sample).")]
Labels = Annotated[Path | None, typer.Option(help="An .npy file with their labels; by default the predicted ones.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Json = Annotated[
    Path | None, typer.Option("--json", help="File for the numbers as JSON; - prints nothing else.", callback=_writable)
]
Proofs = Annotated[
    Path | None,
    typer.Option(
        "--certificate", help="File for proofs, which `check` reads; - prints nothing else.", callback=_writable
    ),
]
Architecture = Annotated[str | None, typer.Option(help="The recipe of the network, for weights without provenance.")]
Shells = Annotated[int, typer.Option(help="Cut balls into so many shells; pays where clips were trained in.", min=1)]
Linear = Annotated[bool, typer.Option("--linear", help="Also bound undecided margins by linear functions.")]
Trust = Annotated[bool, typer.Option("--trust", help="Open a .pt2 file, which can run any command while it is read.")]


def load(network: str, architecture: str | None, trust: bool) -> "nn.Module":
    """The network that an argument names."""
    import lliptools as ll

    untrained = None if architecture is None else ll.training.recipe(architecture).network()
    return ll.nets.load(network, untrained, trust=trust)
