"""Networks trained and measured (recipes, train, evaluate), or bounded at points of a file (bounds, certify, check)."""

import platform
from dataclasses import asdict, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from lliptools.cli import application as cli
from lliptools.errors import InvalidInput

TrainedBy = StrEnum("TrainedBy", ["global", "local", "centred", "shells"])
Loss = StrEnum("Loss", ["clean", "adversarial", "gloro", "bcp", "lmt", "emma", "annealed"])


@cli.app.command()
def recipes() -> None:
    """List the recipes that `train` takes."""
    import lliptools as ll

    print(*ll.training.RECIPES.values(), sep="\n")


@cli.app.command()
def train(
    name: Annotated[str, typer.Argument(help="The recipe; `lliptools recipes` lists them.")],
    to: Annotated[Path, typer.Option(help="Folder for the weights and provenance.json.")] = Path("weights"),
    seed: Annotated[int, typer.Option(help="Seed of the weights and of the batches.")] = 0,
    epochs: Annotated[int, typer.Option(help="Epochs; 0 takes the recipe's own number.", min=0)] = 0,
    loss: Annotated[Loss | None, typer.Option(help="The loss; by default the recipe's own.")] = None,
    bound: Annotated[TrainedBy | None, typer.Option(help="The bound in the loss; by default the recipe's own.")] = None,
    device: cli.Device = "cpu",
    hold_out: Annotated[int, typer.Option(help="Training points kept as a validation part.", min=0)] = 0,
    checkpoint: Annotated[bool, typer.Option(help="Resume by the same command where it was interrupted.")] = True,
) -> None:
    """Train a network, measure it on the test points, and store weights and provenance.

    Several GPUs: torchrun --nproc-per-node=N -m lliptools train RECIPE --device cuda
    """
    import torch

    import lliptools as ll
    from lliptools.certificates.accuracy import accuracy_by_bound
    from lliptools.nets.zoo import check_place, save
    from lliptools.training.checkpoints import remove
    from lliptools.training.distributed import Team, joined

    own = ll.training.recipe(name)
    objective = ll.training.changed(own.objective, loss and loss.value, bound and bound.value)
    recipe = replace(own, epochs=epochs or own.epochs, hold_out=hold_out or own.hold_out, objective=objective)
    check_place(to)
    folder = to / f"{name}.checkpoint" if checkpoint else None
    data = recipe.data()
    with joined(device) as here:
        torch.manual_seed(seed)
        net = recipe.network().to(here, recipe.dtype)
        history = ll.training.fit(net, data, recipe, progress=True, checkpoint=folder)
        if not Team.here().leads:
            return
    print(history)
    points = data.x_test[: recipe.measured].to(here, recipe.dtype)
    labels = data.y_test[: recipe.measured].to(here)
    any_two = partial(ll.certify, centred=False)  # as of the records of all networks that ship
    local = {"": ll.local_bound}
    tables = accuracy_by_bound(net, points, labels, recipe.radii, local, certifier=any_two, progress=True)[""]
    print(tables)
    given: dict[str, Any] = {"epochs": recipe.epochs, "hold-out": recipe.hold_out, "loss": loss, "bound": bound}
    usual = {"epochs": own.epochs, "hold-out": own.hold_out, "loss": None, "bound": None}
    command = f"lliptools train {name} --seed {seed}"
    command += "".join(f" --{key} {value}" for key, value in given.items() if value != usual[key])
    made = {"recipe": name, "objective": repr(objective), "seed": seed, "command": command, "device": device}
    made["versions"] = f"lliptools {ll.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    made |= history.record() | {"held_out": [asdict(each) for each in tables]}
    try:
        save(net, name, recipe.network, made, to)
    except (OSError, InvalidInput):
        if folder:
            typer.echo(f"{folder} holds the trained weights: the same command writes them, without training", err=True)
        raise
    if folder:
        remove(folder)  # the run is over: the same command begins anew
    print(f"written to {to / name}.safetensors")


@cli.app.command()
def evaluate(
    network: Annotated[str, typer.Argument(help="A shipped network's name, or the path of a .safetensors file.")],
    eps: Annotated[list[float] | None, typer.Option(help="Radius, repeatable; by default those of the recipe.")] = None,
    bound: cli.Bounds = ["global", "local", "tightest"],  # noqa: B006 - typer copies it
    points: Annotated[int | None, typer.Option(help="The first so many test points, 0 for all.", min=0)] = None,
    shells: cli.Shells = 1,
    linear: cli.Linear = False,
    device: cli.Device = "cpu",
    json_file: cli.Json = None,
) -> None:
    """Clean and attacked accuracy of a trained network on its test points, and what each bound certifies.

    With --json, the same command resumes where it was interrupted.
    Several processes: torchrun --nproc-per-node=N -m lliptools evaluate NETWORK
    """

    import lliptools as ll
    from lliptools.batchwise import finish, resumable, say
    from lliptools.certificates.accuracy import accuracy_by_bound, by_bound_text
    from lliptools.training.distributed import Team, joined

    with joined(device) as own:
        recipe = ll.training.recipe(str(ll.nets.provenance(network).get("recipe")))
        net, data = ll.nets.load(network).to(own), recipe.data()
        chosen = slice((recipe.measured if points is None else points) or None)
        x, y = data.x_test[chosen].to(own), data.y_test[chosen].to(own)
        bounds = {name: ll.BOUNDS[name] for name in bound}
        how: dict[str, Any] = {"shells": shells, "linear": linear}
        over = resumable(net, [*bounds, repr(how)], json_file)
        tables = accuracy_by_bound(
            net, x, y, eps or recipe.radii, bounds, certifier=partial(ll.certify, **how), over=over
        )
        if not Team.here().leads:
            return
    head = f"{network}, {len(x)} test points of {recipe.data.__name__}; certified by the bound that a column names"
    say(f"{head}\n{by_bound_text(tables)}", json_file)
    rows = [
        asdict(same[0]) | {"certified": {name: each.certified for name, each in zip(tables, same, strict=True)}}
        for same in zip(*tables.values(), strict=True)
    ]
    finish(json_file, {"network": network, "data": recipe.data.__name__, "radii": rows})


@cli.app.command()
def bounds(
    network: cli.Network,
    points: cli.Points,
    eps: Annotated[list[float], typer.Option(help="Radius, repeatable, in the units of the points.")],
    labels: cli.Labels = None,
    bound: cli.Bounds = ["global", "local"],  # noqa: B006 - typer copies it
    shells: cli.Shells = 1,
    linear: cli.Linear = False,
    architecture: cli.Architecture = None,
    device: cli.Device = "cpu",
    json_file: cli.Json = None,
    trust: cli.Trust = False,
) -> None:
    """Bound and certify a saved network at points of a file.

    With --json, the same command resumes where it was interrupted.
    Several processes: torchrun --nproc-per-node=N -m lliptools bounds NETWORK --input FILE --eps RADIUS
    """
    import lliptools as ll
    from lliptools.batchwise import finish, resumable, say
    from lliptools.certificates.report import read_array, report, table
    from lliptools.training.distributed import Team, joined

    with joined(device) as own:
        net = cli.load(network, architecture, trust).to(own)
        x = read_array(points, "points").to(own)
        y = None if labels is None else read_array(labels, "labels").to(own)
        how: dict[str, Any] = {"shells": shells, "linear": linear}
        over = resumable(net, [*bound, repr(how)], json_file)
        rows = report(net, x, y, eps, bound, certifier=partial(ll.certify, **how), over=over)
        if not Team.here().leads:
            return
    say(table(rows), json_file)
    finish(json_file, {"network": network, "input": str(points), "lliptools": ll.__version__, "rows": rows})


@cli.app.command()
def certify(
    network: cli.Network,
    points: cli.Points,
    eps: Annotated[float, typer.Option(help="Radius, in the units of the points.")],
    labels: cli.Labels = None,
    to: cli.Proofs = None,
    architecture: cli.Architecture = None,
    trust: cli.Trust = False,
) -> None:
    """Certify a saved network at points of a file by the local bound, and write proofs that any program can check."""
    import torch

    import lliptools as ll
    from lliptools.batchwise import say, write_or_print
    from lliptools.certificates.files import certificate
    from lliptools.certificates.report import read_array, report, table

    any_two = partial(ll.certify, centred=False)  # what a file proves holds between any two points
    net, x = cli.load(network, architecture, trust), read_array(points, "points")
    rows = report(net, x, None if labels is None else read_array(labels, "labels"), [eps], ["local"], certifier=any_two)
    say(table(rows), to)
    if to is not None:
        text, held = certificate(net, x, torch.tensor([row["label"] for row in rows]), eps, network)
        write_or_print(to, text)
        certified = sum(row["bounds"]["local"]["certified"] for row in rows)
        say(f"{held.sum()} of {certified} certified points are in {to}; `lliptools check` checks their proofs", to)


@cli.app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A certificate file.", exists=True, dir_okay=False)],
    model: Annotated[str | None, typer.Option(help="Compare the weights in the file with this network's.")] = None,
    architecture: cli.Architecture = None,
    trust: cli.Trust = False,
) -> None:
    """Check every number of a certificate file in exact arithmetic; exit 1 where one is not proved."""
    from lliptools import checker

    try:
        proved = checker.check(text := file.read_bytes())
        if model is not None:
            from lliptools.certificates.files import is_network_of

            if not is_network_of(text, cli.load(model, architecture, trust)):
                raise checker.Refused(f"the network in the file is not {model}")
    except checker.Refused as refused:
        typer.echo(f"refused: {refused}", err=True)
        raise typer.Exit(1) from refused
    print(proved)
