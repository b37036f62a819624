"""The command line.

lliptools doctor | lab | recipes | train | evaluate | bounds | certify | check | gallery | app | release
"""

import io
import json
import os
import platform
import sys
import time
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from lliptools.errors import InvalidInput, UnsupportedLayer

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
                cause="a full disk, a path that does not exist or may not be used, or a file in the place of a folder",
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


app = typer.Typer(
    cls=_Commands, add_completion=False, no_args_is_help=True, help="Local Lipschitz bounds of neural networks."
)


class TrainedBy(StrEnum):
    """The bounds that `train` trains by."""

    GLOBAL = "global"
    LOCAL = "local"


class Loss(StrEnum):
    """The losses that `train` knows."""

    CLEAN = "clean"
    ADVERSARIAL = "adversarial"
    GLORO = "gloro"
    BCP = "bcp"
    LMT = "lmt"


class Rung(StrEnum):
    """The bounds that `evaluate` certifies by."""

    GLOBAL = "global"
    LOCAL = "local"
    TIGHTEST = "tightest"


@app.callback()
def _commands() -> None:
    """Keep every command as one of its own, and have signs that a console cannot print replaced."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _write(path: Path, text: str) -> None:
    """Write it whole; print it where that fails, since nothing that was computed may be lost."""
    from lliptools.storage import replacing

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as unfinished:
            unfinished.write_text(text)
    except OSError:
        print(text, end="")
        raise


def _write_json(path: Path | None, found: dict[str, Any]) -> None:
    """Write it where it is asked for; the parts it was made of are no longer needed then."""
    from lliptools.batchwise import remove

    if path is not None:
        _write(path, json.dumps(found, indent=2, allow_nan=False) + "\n")
        remove(_parts(path))


def _parts(path: Path) -> Path:
    """The folder of what is done already of a JSON file."""
    return path.with_name(f"{path.name}.parts")


@app.command()
def doctor() -> None:
    """Say whether this machine is ready: versions, device, widgets, data folder; exit 1 on a fault."""
    from lliptools.teach.doctor import main

    raise typer.Exit(main())


@app.command()
def recipes() -> None:
    """List the recipes that `train` takes."""
    import lliptools as ll

    for name, each in ll.training.RECIPES.items():
        build = each.network
        arguments = ", ".join([*map(str, build.args), *(f"{key}={value}" for key, value in build.keywords.items())])
        print(f"{name:<24} {each.data.__name__:<13}{each.epochs:>5} epochs  {build.func.__name__}({arguments})")


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="The recipe; `lliptools recipes` lists them.")],
    to: Annotated[Path, typer.Option(help="Folder for the weights and provenance.json.")] = Path("weights"),
    seed: Annotated[int, typer.Option(help="Seed of the weights and of the batches.")] = 0,
    epochs: Annotated[int, typer.Option(help="Epochs; 0 takes the recipe's own number.", min=0)] = 0,
    loss: Annotated[Loss | None, typer.Option(help="The loss; by default the recipe's own.")] = None,
    bound: Annotated[TrainedBy | None, typer.Option(help="The bound in the loss; by default the recipe's own.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    hold_out: Annotated[int, typer.Option(help="Training points kept as a validation part.", min=0)] = 0,
    checkpoint: Annotated[bool, typer.Option(help="Resume by the same command where it was interrupted.")] = True,
) -> None:
    """Train a network, measure it on the test points, and store weights and provenance.

    Several GPUs: torchrun --nproc-per-node=N -m lliptools train RECIPE --device cuda
    """
    import torch

    import lliptools as ll
    from lliptools.nets.zoo import check_place, save
    from lliptools.training.checkpoints import remove
    from lliptools.training.distributed import Team, joined

    chosen = ll.training.recipe(name)
    objective = ll.training.changed(chosen.objective, loss and loss.value, bound and bound.value)
    epochs, hold_out = epochs or chosen.epochs, hold_out or chosen.hold_out
    other: dict[str, tuple[object, object]] = {
        "--epochs": (epochs, chosen.epochs),
        "--hold-out": (hold_out, chosen.hold_out),
    }
    other |= {"--loss": (loss, None), "--bound": (bound, None)}
    chosen = replace(chosen, epochs=epochs, hold_out=hold_out, objective=objective)
    check_place(to)
    folder = to / f"{name}.checkpoint" if checkpoint else None
    data = chosen.data()
    with joined(device) as own:
        torch.manual_seed(seed)
        net = chosen.network().to(own, chosen.dtype)
        history = ll.training.fit(net, data, chosen, progress=True, checkpoint=folder)
        leads = Team.here().leads
    if not leads:
        return
    print(history)
    points = ll.training.as_float(data.x_test[: chosen.measured], chosen.dtype).to(own)
    labels = data.y_test[: chosen.measured].to(own)
    tables = ll.certified_accuracy(net, points, labels, chosen.radii, progress=True)
    assert isinstance(tables, ll.AccuracyTables)
    print(tables)
    options = "".join(f" {key} {value}" for key, (value, own_value) in other.items() if value != own_value)
    command = f"lliptools train {name} --seed {seed}{options}"
    versions = f"lliptools {ll.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    measured = [{"eps": t.eps, "clean": t.clean, "attacked": t.attacked, "certified": t.certified} for t in tables]
    made = {"recipe": name, "objective": repr(chosen.objective), "seed": seed, "command": command}
    done = {"device": device, "training_seconds": round(sum(history["seconds"])), "versions": versions}
    if history.best is not None:
        done["validation"] = {"last": history.epochs[-1], "best": history.epochs[history.best]}
    try:
        save(net, name, chosen.network, made | done | {"held_out": measured}, to)
    except (OSError, InvalidInput):
        if folder:
            typer.echo(f"{folder} holds the trained weights: the same command writes them, without training", err=True)
        raise
    if folder:
        remove(folder)  # the run is over: the same command begins anew
    print(f"written to {to / name}.safetensors")


@app.command()
def evaluate(
    network: Annotated[str, typer.Argument(help="A shipped network's name, or the path of a .safetensors file.")],
    eps: Annotated[list[float] | None, typer.Option(help="Radius, repeatable; by default those of the recipe.")] = None,
    bound: Annotated[
        list[Rung] | None, typer.Option(help="A bound that certifies, repeatable; by default each of them.")
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(help="The first so many test points, 0 for all; by default as the recipe has it.", min=0),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the same numbers as JSON.")] = None,
) -> None:
    """Clean and attacked accuracy of a trained network on its test points, and what each bound certifies.

    With --json, the same command resumes where it was interrupted.
    Several processes: torchrun --nproc-per-node=N -m lliptools evaluate NETWORK
    """
    import torch

    import lliptools as ll
    from lliptools.batchwise import in_rounds, settings
    from lliptools.certificates.accuracy import accuracy_by_bound
    from lliptools.digits import radius_text
    from lliptools.storage import check_writable
    from lliptools.training.distributed import Team, joined

    if json_file is not None:
        check_writable(json_file)
    with joined(device) as own:
        recipe = ll.training.recipe(str(ll.nets.provenance(network).get("recipe")))
        net, data = ll.nets.load(network).to(own), recipe.data()
        chosen = slice((recipe.measured if points is None else points) or None)
        x, y = ll.training.as_float(data.x_test[chosen], torch.float64).to(own), data.y_test[chosen].to(own)
        rungs: dict[str, Any] = {rung.value: ll.BOUNDS[rung.value] for rung in bound or Rung}
        over = partial(in_rounds, settings=settings(net, rungs), folder=json_file and _parts(json_file))
        tables = accuracy_by_bound(net, x, y, eps or recipe.radii, rungs, over=over)
        leads = Team.here().leads
    if not leads:
        return
    print(f"{network}, {len(x)} test points of {recipe.data.__name__}; certified by the bound that a column names")
    print("".join(f"{name:>10}" for name in ("eps", "clean", "attacked", *rungs)))
    rows = []
    for same in zip(*tables.values(), strict=True):
        row = {"eps": same[0].eps, "clean": same[0].clean, "attacked": same[0].attacked, "points": same[0].points}
        row["certified"] = certified = {name: each.certified for name, each in zip(rungs, same, strict=True)}
        rows.append(row)
        shown = (f"{number:>10.4f}" for number in (row["clean"], row["attacked"], *certified.values()))
        print(f"{radius_text(row['eps']):>10}" + "".join(shown))
    _write_json(json_file, {"network": network, "data": recipe.data.__name__, "radii": rows})


@app.command()
def bounds(
    network: Annotated[
        str, typer.Argument(help="A shipped network's name, or a .safetensors file, or a .pt2 file of torch.export.")
    ],
    points: Annotated[Path, typer.Option("--input", help="An .npy file with the points, (points, *sample).")],
    eps: Annotated[list[float], typer.Option(help="Radius, repeatable, in the units of the points.")],
    labels: Annotated[
        Path | None, typer.Option(help="An .npy file with their labels; by default what the network predicts.")
    ] = None,
    bound: Annotated[
        list[Rung] | None, typer.Option(help="A bound, repeatable; by default the global and the local one.")
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(help="The recipe whose network has the weights of a file without provenance.json.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all rows as JSON.")] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Open a .pt2 file, which can run any command while it is read.")
    ] = False,
) -> None:
    """Bound and certify a saved network at points of a file.

    With --json, the same command resumes where it was interrupted.
    Several processes: torchrun --nproc-per-node=N -m lliptools bounds NETWORK --input FILE --eps RADIUS
    """
    import lliptools as ll
    from lliptools.batchwise import in_rounds, settings
    from lliptools.certificates.report import read_array, report, table
    from lliptools.storage import check_writable
    from lliptools.training.distributed import Team, joined

    if json_file is not None:
        check_writable(json_file)
    with joined(device) as own:
        untrained = None if architecture is None else ll.training.recipe(architecture).network()
        net = ll.nets.load(network, untrained, trust=trust).to(own)
        x = read_array(points, "points").to(own)
        y = None if labels is None else read_array(labels, "labels").to(own)
        rungs = [rung.value for rung in bound or (Rung.GLOBAL, Rung.LOCAL)]
        over = partial(in_rounds, settings=settings(net, rungs), folder=json_file and _parts(json_file))
        rows = report(net, x, y, eps, rungs, over=over)
        leads = Team.here().leads
    if not leads:
        return
    found = {"network": network, "input": str(points), "lliptools": ll.__version__, "rows": rows}
    print(table(rows))
    _write_json(json_file, found)


@app.command()
def certify(
    network: Annotated[
        str, typer.Argument(help="A shipped network's name, or a .safetensors file, or a .pt2 file of torch.export.")
    ],
    points: Annotated[Path, typer.Option("--input", help="An .npy file with the points, (points, *sample).")],
    eps: Annotated[float, typer.Option(help="Radius, in the units of the points.")],
    labels: Annotated[
        Path | None, typer.Option(help="An .npy file with their labels; by default what the network predicts.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--certificate", help="File for the proofs, of a dense network; `check` reads it.")
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(help="The recipe whose network has the weights of a file without provenance.json.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Open a .pt2 file, which can run any command while it is read.")
    ] = False,
) -> None:
    """Certify a saved network at points of a file by the local bound, and write proofs that any program can check."""
    import torch

    import lliptools as ll
    from lliptools.certificates.files import certificate
    from lliptools.certificates.report import read_array, report, table
    from lliptools.storage import check_writable

    if to is not None:
        check_writable(to)
    untrained = None if architecture is None else ll.training.recipe(architecture).network()
    net, x = ll.nets.load(network, untrained, trust=trust), read_array(points, "points")
    rows = report(net, x, None if labels is None else read_array(labels, "labels"), [eps], ["local"])
    print(table(rows))
    if to is not None:
        text, held = certificate(net, x, torch.tensor([row["label"] for row in rows]), eps, network)
        _write(to, text)
        certified = sum(row["bounds"]["local"]["certified"] for row in rows)
        print(f"{held.sum()} of {certified} certified points are in {to}; `lliptools check` checks their proofs")


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A certificate file.", exists=True, dir_okay=False)],
    model: Annotated[
        str | None, typer.Option(help="Compare the weights in the file with those of this network, exactly.")
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(help="The recipe whose network has the weights of a file without provenance.json.")
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Open a .pt2 file, which can run any command while it is read.")
    ] = False,
) -> None:
    """Check every number of a certificate file in exact arithmetic; exit 1 where one is not proved."""
    from lliptools.checker import Refused
    from lliptools.checker import check as checked

    try:
        proved = checked(text := file.read_bytes())
        if model is not None:
            import lliptools as ll
            from lliptools.certificates.files import is_network_of

            untrained = None if architecture is None else ll.training.recipe(architecture).network()
            if not is_network_of(text, ll.nets.load(model, untrained, trust=trust)):
                raise Refused(f"the network in the file is not {model}")
    except Refused as refused:
        typer.echo(f"refused: {refused}", err=True)
        raise typer.Exit(1) from refused
    print(proved)


@app.command()
def gallery(
    to: Annotated[Path, typer.Argument(help="Folder for the pages, made where it is missing.")],
    page: Annotated[list[str] | None, typer.Option(help="One page by its name, repeatable; by default all.")] = None,
) -> None:
    """Write the central figures as pages whose sliders work without Python and without a network connection."""
    from lliptools.teach.publish.gallery import write

    for path in write(to, page or ()):
        print(f"{path.stat().st_size / 1000:>6.0f} kB  {path}")


@app.command()
def lab(
    folder: Annotated[Path, typer.Argument(help="Folder for the course; what it holds already is kept.")] = Path(
        "lliptools-course"
    ),
    port: Annotated[int, typer.Option(help="Port on this machine.", min=1, max=65535)] = 8888,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Check the machine and open the course in JupyterLab, on the first notebook."""
    from lliptools.teach.doctor import main
    from lliptools.teach.publish.lab import lab as open_lab

    raise typer.Exit(main() or open_lab(folder, port, browser=browser))


@app.command(name="app")
def serve(
    port: Annotated[int, typer.Option(help="Port on this machine.", min=1, max=65535)] = 8866,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Serve the explorers as one page without code, on this machine only; needs the extra `app`."""
    from lliptools.teach.publish.app import serve

    raise typer.Exit(serve(port, browser=browser))


@app.command()
def release(
    destination: Annotated[Path, typer.Argument(help="A new folder for the course.")],
    notebooks: Annotated[Path | None, typer.Option(help="A folder of notebooks; by default the course's own.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the hidden tests' cases; by default a secret one.")] = None,
) -> None:
    """Make an nbgrader course: source/ with solutions and hidden tests, release/ for the students."""
    from lliptools.teach.publish.lab import notebooks as course
    from lliptools.teach.publish.release import release as write

    names = write(destination, notebooks or course(), seed)
    print(f"{len(names)} assignments in {destination}: {', '.join(names)}")
    print(f"source/ holds solutions and hidden tests; release/ is for the students. Next: cd {destination}")


if __name__ == "__main__":
    app()
