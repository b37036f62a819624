"""The command line: lliptools doctor | recipes | train."""

import platform
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Local Lipschitz bounds of neural networks.")


@app.callback()
def _commands() -> None:
    """Keep every command as one of its own."""


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
        print(f"{name:<16}{each.data.__name__:<10}{each.epochs:>5} epochs  {build.func.__name__}({arguments})")


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="The recipe; `lliptools recipes` lists them.")],
    to: Annotated[Path, typer.Option(help="Folder for the weights and provenance.json.")] = Path("weights"),
    seed: Annotated[int, typer.Option(help="Seed of the weights and of the batches.")] = 0,
    epochs: Annotated[int, typer.Option(help="Epochs; 0 takes the recipe's own number.", min=0)] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Train a network, measure it on the test points, and store weights and provenance."""
    import torch

    import lliptools as ll
    from lliptools.nets.zoo import save

    chosen = ll.training.recipe(name)
    if epochs:
        chosen = replace(chosen, epochs=epochs)
    data = chosen.data().to(device)
    torch.manual_seed(seed)
    net = chosen.network().to(device, chosen.dtype)
    start = perf_counter()
    ll.training.fit(net, data, chosen, progress=True)
    seconds = round(perf_counter() - start)
    points = ll.training.as_float(data.x_test, chosen.dtype)
    tables = ll.certified_accuracy(net, points, data.y_test, chosen.radii, progress=True)
    assert isinstance(tables, ll.AccuracyTables)
    print(tables)
    command = f"lliptools train {name} --seed {seed}" + (f" --epochs {epochs}" if epochs else "")
    versions = f"lliptools {ll.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    measured = [{"eps": t.eps, "clean": t.clean, "attacked": t.attacked, "certified": t.certified} for t in tables]
    made = {"recipe": name, "objective": repr(chosen.objective), "seed": seed, "command": command}
    done = {"device": device, "training_seconds": seconds, "versions": versions, "held_out": measured}
    save(net, name, chosen.network, made | done, to)
    print(f"written to {to / name}.safetensors")


if __name__ == "__main__":
    app()
