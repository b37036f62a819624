"""The course and its machine: doctor, gallery, lab, app, release."""

from pathlib import Path
from typing import Annotated

import typer

from lliptools.cli.application import app
from lliptools.errors import extra

Course = Annotated[Path, typer.Argument(help="Folder for the course; what it contains already is kept.")]
Port = Annotated[int, typer.Option(help="Port on this machine.", min=1, max=65535)]
Browser = Annotated[bool, typer.Option(help="Open a browser.")]


@app.command()
def doctor() -> None:
    """Say whether this machine is ready: versions, device, widgets, data folder; exit 1 on a fault."""
    from lliptools.teach.doctor import main

    raise typer.Exit(main())


@app.command()
def gallery(
    to: Annotated[Path, typer.Argument(help="Folder for the pages, made where it is missing.")],
    page: Annotated[list[str] | None, typer.Option(help="One page by its name, repeatable; by default all.")] = None,
) -> None:
    """Write the central figures as pages whose sliders work without Python and without a network connection."""
    with extra("widgets"):
        from lliptools.teach.publish.gallery import write

    for path in write(to, page or ()):
        print(f"{path.stat().st_size / 1000:>6.0f} kB  {path}")


@app.command()
def lab(folder: Course = Path("lliptools-course"), port: Port = 8888, browser: Browser = True) -> None:
    """Check the machine and open the course in JupyterLab, on the first notebook."""
    from lliptools.teach.doctor import main
    from lliptools.teach.publish.lab import lab as open_lab

    raise typer.Exit(main() or open_lab(folder, port, browser=browser))


@app.command(name="app")
def serve(port: Port = 8866, browser: Browser = True) -> None:
    """Serve the explorers as one page without code, on this machine only; needs the extra `app`."""
    with extra("app"):
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

    with extra("course"):
        from lliptools.teach.publish.release import release as write

    names = write(destination, notebooks or course(), seed)
    print(f"{len(names)} assignments in {destination}: {', '.join(names)}")
    print("source/ holds solutions and hidden tests; release/ is for the students")
    print(f"Next: cd {destination}, and the commands of docs/for_lecturers.md")
