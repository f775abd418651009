"""For a machine without network: what is missing is installed from a folder of wheels, into an environment beside."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path


def go_on_in_venv(wheels: Path, folder: Path, command: list[str]) -> None:
    """Run `command` in place of this process, with the packages of this Python and those in `wheels`.

    Raises:
        SystemExit: pip could not install; its output says what is missing.
    """
    if not any(wheels.glob("nnunet_mamba-*.whl")):
        sys.exit(f"--wheels: got {wheels}, wanted a folder with nnunet_mamba-*.whl and what it needs: docs/on_gpu.md")
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, symlinks=True)
    # this Python may be of a venv itself, whose packages `--system-site-packages` would not show
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    pth = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    Path(site, "of_the_first_python.pth").write_text(pth, encoding="utf-8")
    # all that is there and no more: whatever a wheel needs beyond that, this Python may have
    files = [str(file) for file in wheels.glob("*.whl")]
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    if subprocess.run([*pip, *files]).returncode:
        sys.exit(f"--wheels: pip cannot install the wheels in {wheels}: wanted one version of each, for this Python")
    os.execv(python, [str(python), *command])
