"""What other services read of this repository: forms, workflows and environments. None of those services is asked."""

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
SCHEMAS = {
    "github-workflows": WORKFLOWS,
    "github-issue-forms": [path for path in FORMS if path.name != "config.yml"],
    "github-issue-config": [path for path in FORMS if path.name == "config.yml"],
    "citation-file-format": [ROOT / "CITATION.cff"],
}


def yaml(name):
    return YAML(typ="safe").load((ROOT / name).read_text())


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_are_as_their_schema_says(schema):
    """The schemas come with the package: nothing is fetched."""
    assert SCHEMAS[schema]
    check = [BIN / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", *SCHEMAS[schema]]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_what_is_made_in_a_workflow_is_in_the_makefile():
    texts = [path.read_text() for path in [*WORKFLOWS, ROOT / ".devcontainer" / "devcontainer.json"]]
    targets = {target for text in texts for target in re.findall(r"\bmake ([\w./-]+)", text)} - {"test-"}
    makefile = (ROOT / "Makefile").read_text()
    assert {"check", "test"} <= targets
    for target in targets:
        assert re.search(rf"^([\w-]+ )*{re.escape(target)}\b.*:", makefile, re.MULTILINE), target
    for which in yaml(".github/workflows/versions.yml")["jobs"]["versions"]["strategy"]["matrix"]["which"]:
        assert f"test-{which}:" in makefile


def test_every_python_that_the_package_names_is_tested():
    tested = yaml(".github/workflows/test.yml")["jobs"]["quick"]["strategy"]["matrix"]
    named = [found[1] for text in PROJECT["classifiers"] if (found := re.search(r":: (3\.\d+)$", text))]
    assert tested["python"] == named
    oldest = next(text for text in PROJECT["dependencies"] if text.startswith("torch")).split(">=")[1]
    torches = [*tested["torch"], *(each["torch"] for each in tested["include"])]
    assert any(torch.startswith(oldest) for torch in torches)
    assert f"torch=={torches[0]}\n" in (ROOT / "constraints.txt").read_text()


def test_hooks_run_tools_that_are_installed():
    hooks = [hook for repo in yaml(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert {hook["id"] for hook in hooks} == {"ruff", "ruff-format", "mypy"}
    for hook in hooks:
        command = shlex.split(hook["entry"])
        assert (BIN / command[0]).exists()
        assert hook["language"] == "system"
    ruff = shlex.split(hooks[0]["entry"])
    assert subprocess.run([BIN / ruff[0], *ruff[1:], ROOT / "tests" / "test_public_files.py"]).returncode == 0


def test_environments_elsewhere():
    """They install the course of this tree, with a Python that it runs on."""
    minimum = PROJECT["requires-python"].removeprefix(">=")
    assert f"python={minimum}" in yaml(".binder/environment.yml")["dependencies"]
    script = ROOT / ".binder" / "postBuild"
    assert script.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert "-c constraints.txt -e '.[lab]'" in script.read_text()
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert container["image"].endswith(f":{minimum}")


def test_the_cell_for_colab_is_a_cell():
    from IPython.core.inputtransformer2 import TransformerManager

    cell = re.search(r"## Colab.+?```python\n(.+?)```", (ROOT / "docs" / "elsewhere.md").read_text(), re.DOTALL)[1]
    ast.parse(TransformerManager().transform_cell(cell))
    assert '"lliptools[widgets,data]"' in cell
