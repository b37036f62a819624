"""Imports run one way, and the engine loads nothing that it does not need."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "lliptools"
# Left may not import right; rooms in the order of the pipeline.
ROOMS = (
    *("errors", "checker", "storage", "digits", "nets", "norms", "domains", "bounds", "certificates", "layers"),
    *("exchange", "training", "batchwise", "teach", "cli", "__main__"),
)
# Inside a room, the order of its files.
FILES = {
    "nets": (
        "process",
        "checks",
        "activations",
        "clips",
        "pairs",
        "smooth",
        "checked",
        "rules",
        "operators",
        "linear",
        "residual",
        "designed",
        "images",
        "layers",
        "blocks",
        "architectures",
        "operations",
        "programs",
        "zoo",
    ),
    "norms": ("kinds", "rounding", "dense", "scaled", "krylov", "aposteriori", "torus", "spectral"),
    "domains": ("box", "center", "boxes", "zonotope"),
    "bounds": (
        *("reading", "record", "steps", "merged", "one_pass", "product", "ellipsoid", "balancing", "multipliers"),
        *("rungs", "pieces", "sides", "exact_cells", "exact_patterns", "exact", "sampled"),
    ),
    "certificates": ("margins", "attacks", "certificate", "radius", "stages", "accuracy", "report", "files"),
    "layers": (
        *("condition", "norm", "bases", "sll", "cpl", "aol", "spectral", "orthogonal", "sandwich", "isometries"),
        *("networks", "export"),
    ),
    "training": (
        "data",
        "files",
        "images",
        "augmentation",
        "batches",
        "losses",
        "norms",
        "estimates",
        "objectives",
        "schedules",
        "recipes",
        "devices",
        "history",
        "distributed",
        "validation",
        "checkpoints",
        "diagnosis",
        "loop",
    ),
    "teach": (
        *("style", "views", "panels", "figures", "exercise", "checks", "check", "frames", "widgets"),
        *("examples", "publish", "doctor"),
    ),
    "teach.checks": (
        *("answers", "questions", "pictures", "unseen", "start", "margins", "norms", "products", "neurons", "clipping"),
        *("thresholds", "training", "proofs", "layers", "lattice", "capstone"),
    ),
    "teach.publish": ("gallery", "lab", "app", "solutions", "nbgrader_config", "release"),
    "teach.views": (
        *("units", "weights", "plane", "efforts", "neuron", "clip", "margin", "norm", "product", "condition"),
        *("accuracy", "lattice", "pair"),
    ),
    "teach.figures": (
        *("point", "units", "neuron", "clip", "margin", "norm", "product", "training", "condition", "accuracy"),
        *("lattice", "counter_example"),
    ),
    "teach.widgets": (
        *("controls", "button", "frames", "figure", "redraw", "base", "staged", "neuron", "clip", "margin", "norm"),
        *("product", "condition", "accuracy", "training", "lattice"),
    ),
}
EAGER = {"torch", "numpy", "scipy", "safetensors", "lliptools"}
OWN = {
    "plotly": (
        *("teach/panels.py", "teach/figures/", "teach/frames.py", "teach/widgets/", "teach/examples.py"),
        "teach/publish/gallery.py",
    ),
    "ipywidgets": ("teach/widgets/", "teach/publish/app.py"),
    "anywidget": ("teach/doctor.py", "teach/widgets/"),
}


def imports(path):
    """Every module a file imports, and whether it does so when it is loaded."""
    tree = ast.parse(path.read_text())
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module, id(node) in top
            if node.module in {"lliptools", "lliptools.teach"}:
                yield from ((f"{node.module}.{alias.name}", id(node) in top) for alias in node.names)


def place(module):
    """Where a module stands in the order of the package: its position in its room, and so on inside."""
    parts = module.split(".")[1:]
    if not parts or parts[0] not in ROOMS:
        return None
    found, inside = [ROOMS.index(parts[0])], parts[0]
    for part in parts[1:]:
        if part == "__init__":
            return (*found, len(FILES[inside]))  # it names what is beside it
        if part not in FILES.get(inside, ()):
            break  # a name of the module before it
        found.append(FILES[inside].index(part))
        inside = f"{inside}.{part}"
    return tuple(found)


def module_of(path):
    """The name of a file's module, with __init__ as a name of its own."""
    return ".".join(("lliptools", *path.relative_to(PACKAGE).with_suffix("").parts))


def test_every_file_has_its_place():
    for path in PACKAGE.rglob("*.py"):
        if path.parent == PACKAGE and path.name == "__init__.py":
            continue
        own = place(module_of(path))
        assert own is not None
        assert len(own) == len(path.relative_to(PACKAGE).parts), path


def test_imports_run_one_way():
    for path in PACKAGE.rglob("*.py"):
        if path.parent == PACKAGE and path.name == "__init__.py":
            continue  # the public face names every room
        for module, _ in imports(path):
            other = place(module)
            assert other is None or other < place(module_of(path)), f"{path} imports {module}"


def test_only_the_rooms_that_show_import_what_shows():
    for path in PACKAGE.rglob("*.py"):
        for module, _ in imports(path):
            allowed = OWN.get(module.split(".")[0])
            assert allowed is None or path.relative_to(PACKAGE).as_posix().startswith(allowed), f"{path}: {module}"


def test_the_engine_imports_only_what_a_compute_machine_has():
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] in {"teach", "cli.py", "__main__.py"}:
            continue
        for module, when_loaded in imports(path):
            name = module.split(".")[0]
            assert not when_loaded or name in EAGER or name in sys.stdlib_module_names, f"{path} imports {module}"


def test_import_is_light():
    late = {"plotly", "ipywidgets", "sklearn", "pooch", "tqdm", "PIL", "typer"}
    code = f"import sys, lliptools; print(*{late} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
