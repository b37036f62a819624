"""The command line: lliptools doctor | train."""

import platform
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Local Lipschitz bounds of neural networks.")


@app.callback()
def _commands() -> None:
    """Keep `doctor` and `train` as commands of their own."""


@app.command()
def doctor() -> None:
    """Say whether this machine is ready: versions, device, widgets, data folder; exit 1 on a fault."""
    from lliptools.teach.doctor import main

    raise typer.Exit(main())


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="The recipe: moons, digits-relu or digits-clipped.")],
    to: Annotated[Path, typer.Option(help="Folder for the weights and provenance.json.")] = Path("weights"),
    seed: Annotated[int, typer.Option(help="Seed of the weights and of the batches.")] = 0,
    epochs: Annotated[int, typer.Option(help="Epochs; 0 takes the recipe's own number.", min=0)] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Train a small network, measure it on the held-out points, and store weights and provenance."""
    import torch

    import lliptools as ll
    from lliptools.nets.zoo import save

    chosen = ll.training.recipe(name)
    if epochs:
        chosen = replace(chosen, epochs=epochs)
    data = chosen.data().to(device)
    start = perf_counter()
    net = ll.training.fit(chosen, data, seed=seed, progress=True)
    seconds = round(perf_counter() - start)
    table = ll.certified_accuracy(net, data.x_test, data.y_test, chosen.eps_reported)
    assert isinstance(table, ll.AccuracyTable)
    print(table)
    command = f"lliptools train {name} --seed {seed}" + (f" --epochs {epochs}" if epochs else "")
    versions = f"lliptools {ll.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    measured = {
        "eps": table.eps,
        "clean": table.clean,
        "attacked": table.attacked,
        "certified": table.certified,
    }
    trained_for = {"recipe": name, "trained_for_eps": chosen.eps, "seed": seed, "command": command}
    save(
        net,
        name,
        {**trained_for, "device": device, "training_seconds": seconds, "versions": versions, "held_out": measured},
        to,
    )
    print(f"written to {to / name}.safetensors")


if __name__ == "__main__":
    app()
