"""Puts nnunet_mamba.pth beside the package, in wheels and in editable installs; the rest is in setup.cfg."""

import base64
import hashlib
import shutil
from pathlib import Path
from zipfile import ZipFile

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

PTH = "nnunet_mamba.pth"


class BuildPyWithPth(build_py):
    """Copies the .pth to the root of the wheel, which pip unpacks into site-packages and removes on uninstall."""

    def run(self):
        super().run()
        if not self.editable_mode:
            shutil.copyfile(PTH, Path(self.build_lib) / PTH)

    def get_outputs(self, include_bytecode=True):
        outputs = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, str(Path(self.build_lib) / PTH)]


class EditableWheelWithPth(editable_wheel):
    """Adds the .pth to the finished editable wheel: setuptools has no public hook for a file at its root."""

    def run(self):
        super().run()
        for wheel in Path(self.dist_dir).glob("*editable*.whl"):
            _add_to_wheel(wheel, PTH)


def _add_to_wheel(wheel, file):
    """Rewrite `wheel` with `file` at its root and listed in RECORD, so that an uninstall removes it."""
    content = Path(file).read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    row = f"{file},sha256={digest},{len(content)}\n".encode()
    rewritten = wheel.with_suffix(".rewritten")
    with ZipFile(wheel) as old, ZipFile(rewritten, "w") as new:
        new.writestr(file, content)
        for entry in old.infolist():
            data = old.read(entry)
            new.writestr(entry, row + data if entry.filename.endswith(".dist-info/RECORD") else data)
    rewritten.replace(wheel)


setup(cmdclass={"build_py": BuildPyWithPth, "editable_wheel": EditableWheelWithPth})
