"""The demo's folder: a marker file identifies it and lists the finished steps, so that a demo can be resumed."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from nnunet_mamba.files import replacing

MARKER = "nnunet_mamba_demo.json"


class DemoFolder:
    """A folder for one demo, created if it does not exist.

    Raises:
        FileExistsError: `path` is a file or a folder with other files.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser().resolve()
        self.done: list[str] = []
        marker = self.path / MARKER
        if marker.is_file():
            self.done = json.loads(marker.read_text(encoding="utf-8"))["done"]
            return
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"{self.path} is a file: name another folder with -o")
        if self.path.is_dir() and any(self.path.iterdir()):
            raise FileExistsError(
                f"{self.path} is not empty and not a demo's folder (no {MARKER} in it): name a new or empty one with -o"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self._save()

    def finish(self, step: str) -> None:
        """Record that `step` is done."""
        self.done.append(step)
        self._save()

    def clear(self, folders: Iterable[str]) -> None:
        """Delete `folders`, the remains of an interrupted step."""
        for folder in folders:
            if (self.path / folder).exists():
                shutil.rmtree(self.path / folder)

    def _save(self) -> None:
        with replacing(self.path / MARKER) as unfinished:
            unfinished.write_text(json.dumps({"done": self.done}), encoding="utf-8")
