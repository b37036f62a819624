"""The course in the wheel, with the pages that it links to: each picture once, though two notebooks have it as well."""

from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Course(BuildHookInterface):
    """Puts the course into the package, with the names of pictures for their content; `lliptools lab` puts it back."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        self.copies = TemporaryDirectory()  # until the wheel is written
        folder, to = Path(self.root) / "notebooks", Path(self.copies.name)
        names = {
            b64encode(path.read_bytes()): f"pictures/{path.name}".encode() for path in folder.glob("pictures/*.png")
        }
        for path in sorted(folder.rglob("*.ipynb")):
            content = path.read_bytes()
            for picture, name in names.items():
                content = content.replace(b'"%s"' % picture, b'"%s"' % name)
            short = to / path.relative_to(folder)
            short.parent.mkdir(exist_ok=True)
            short.write_bytes(content)
            build_data["force_include"][str(short)] = f"lliptools/course/notebooks/{path.relative_to(folder)}"
        build_data["force_include"][str(folder / "pictures")] = "lliptools/course/notebooks/pictures"
        for part in ("docs/*.md", "benchmarks/results/*.md"):
            for page in Path(self.root).glob(part):
                build_data["force_include"][str(page)] = f"lliptools/course/{page.relative_to(self.root).as_posix()}"
