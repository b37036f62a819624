"""Imports run one way, and the engine loads nothing that it does not need."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "lliptools"
# Left may not import right; rooms in the order of the pipeline.
ROOMS = (
    *("errors", "nets", "bounds", "margins", "attacks", "certificates", "cascade", "accuracy"),
    *("layers", "training", "teach", "cli", "__main__"),
)
# Inside a room, the order of its files.
FILES = {
    "nets": (
        "activations",
        "pairs",
        "rules",
        "operators",
        "linear",
        "residual",
        "designed",
        "images",
        "layers",
        "blocks",
        "architectures",
        "zoo",
    ),
    "bounds": (
        "checks",
        "rounding",
        "record",
        "norms",
        "krylov",
        "aposteriori",
        "torus",
        "spectral",
        "boxes",
        "steps",
        "scaled",
        "merged",
        "zonotope",
        "one_pass",
        "product",
        "ellipsoid",
        "balancing",
        "multipliers",
        "rungs",
        "pieces",
        "exact_cells",
        "exact_patterns",
        "exact",
        "sampled",
    ),
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
    "teach": ("style", "exercise", "check", "views", "panels", "figures", "curves", "widgets", "doctor"),
}
EAGER = {"torch", "numpy", "scipy", "safetensors", "lliptools"}
OWN = {
    "plotly": {"teach/curves.py", "teach/figures.py", "teach/panels.py", "teach/widgets.py"},
    "ipywidgets": {"teach/widgets.py"},
    "anywidget": {"teach/doctor.py"},
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
    """(room, file) of a module of the package, as positions."""
    parts = module.split(".")[1:]
    if not parts or parts[0] not in ROOMS:
        return None
    files = FILES.get(parts[0], ())
    return ROOMS.index(parts[0]), files.index(parts[1]) if len(parts) > 1 and parts[1] in files else -1


def test_every_file_has_its_place():
    for path in PACKAGE.rglob("*.py"):
        room, *rest = path.relative_to(PACKAGE).with_suffix("").parts
        assert room in ROOMS or path.name == "__init__.py"
        if rest and rest != ["__init__"]:
            assert rest[0] in FILES[room], path


def test_imports_run_one_way():
    for path in PACKAGE.rglob("*.py"):
        own = place("lliptools." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts))
        if path.name == "__init__.py":
            if path.parent == PACKAGE:
                continue  # the public face names every room
            own = (ROOMS.index(path.parent.name), len(FILES[path.parent.name]))
        for module, _ in imports(path):
            other = place(module)
            if other is None:
                continue
            assert other[0] < own[0] or (other[0] == own[0] and other[1] < own[1]), f"{path} imports {module}"


def test_only_the_rooms_that_show_import_what_shows():
    for path in PACKAGE.rglob("*.py"):
        for module, _ in imports(path):
            allowed = OWN.get(module.split(".")[0])
            assert allowed is None or path.relative_to(PACKAGE).as_posix() in allowed, f"{path} imports {module}"


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
