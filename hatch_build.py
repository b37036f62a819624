"""The course in the wheel: each picture once, though it lies beside the notebooks and in two of them as an output."""

from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Course(BuildHookInterface):
    """Puts notebooks/ into the package, with the names of pictures for their content; `lliptools lab` puts it back."""

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
