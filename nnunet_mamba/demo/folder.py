"""The demo's folder: a marker file says that it is ours and which steps are done, so that an interrupted demo continues."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

MARKER = "nnunet_mamba_demo.json"


class DemoFolder:
    """A folder for one demo, made if it does not exist.

    Raises:
        FileExistsError: `path` is a file, or holds files that are not a demo's.
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
                f"{self.path} is not empty and not a demo's (it has no {MARKER}): name a new or an empty folder with -o"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self._save()

    def finish(self, step: str) -> None:
        """Note that `step` is done."""
        self.done.append(step)
        self._save()

    def clear(self, folders: Iterable[str]) -> None:
        """Delete `folders`, which an interrupted step left behind."""
        for folder in folders:
            if (self.path / folder).exists():
                shutil.rmtree(self.path / folder)

    def _save(self) -> None:
        part = self.path / f"{MARKER}.part"
        part.write_text(json.dumps({"done": self.done}), encoding="utf-8")
        part.replace(self.path / MARKER)
