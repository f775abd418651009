"""What setup.cfg cannot say: nnunet_mamba.pth beside the package, and README with whole addresses for its page."""

import base64
import configparser
import hashlib
import re
import shutil
from pathlib import Path
from zipfile import ZipFile

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).resolve().parent
PTH = "nnunet_mamba.pth"
# targets in Markdown that are neither an address nor a place on their own page: of pictures, and of all links
PICTURE = re.compile(r"(!\[[^\]]*\]\()(?!\w+:|#)([^)\s]+)(?=\))")
LINK = re.compile(r"(\]\()(?!\w+:|#)([^)\s]+)(?=\))")


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


def metadata():
    """The section [metadata] of setup.cfg. Its `url` is the one place that holds the repository's address."""
    settings = configparser.RawConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    return settings["metadata"]


def with_whole_addresses(text, url, version):
    """Markdown whose relative links and pictures lead into the repository at `url`, at the tag of this version.

    A package page has no files beside it.
    """

    text = PICTURE.sub(rf"\g<1>{url}/raw/{version}/\g<2>", text)
    return LINK.sub(rf"\g<1>{url}/blob/{version}/\g<2>", text)


def long_description():
    """README for a package page."""
    about = metadata()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return with_whole_addresses(readme, about["url"], f"v{about['version']}")


def project_urls():
    """The links beside a package page."""
    url = metadata()["url"]
    return {
        "Source": url,
        "Documentation": f"{url}/tree/main/docs",
        "Changelog": f"{url}/blob/main/CHANGELOG.md",
        "Issues": f"{url}/issues",
    }


if __name__ == "__main__":  # the tests and the site import this file
    setup(
        cmdclass={"build_py": BuildPyWithPth, "editable_wheel": EditableWheelWithPth},
        long_description=long_description(),
        project_urls=project_urls(),
    )
