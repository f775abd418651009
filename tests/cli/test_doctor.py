"""The doctor: green where all is well, and a fix for each red line."""

import pytest

from nnunet_mamba import catalogue
from nnunet_mamba.cli import doctor
from nnunet_mamba.cli.main import main
from nnunet_mamba.nnunet_folders import VARIABLES


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for name in VARIABLES:
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    return tmp_path


def test_a_healthy_installation_is_green(folders, capsys, monkeypatch):
    monkeypatch.delenv("NNUNET_MAMBA_SCAN", raising=False)
    status = main(["doctor"])
    said = capsys.readouterr().out
    assert status == 0 and said.endswith("nothing to fix\n") and "FAIL" not in said
    assert "scan on cpu" in said and "engine 'cpu', the default on cpu" in said
    assert f"yes, {', '.join(catalogue.names())}\n" in said
    assert all(f"{folders / name}, can be written" in said for name in VARIABLES)


def no_folder(folders, monkeypatch):
    (folders / "nnUNet_raw").rmdir()


def unset(folders, monkeypatch):
    monkeypatch.delenv("nnUNet_results")


def unknown_engine(folders, monkeypatch):
    monkeypatch.setenv("NNUNET_MAMBA_SCAN", "fastest")


def gpu_engine(folders, monkeypatch):
    monkeypatch.setenv("NNUNET_MAMBA_SCAN", "mamba_ssm")


def old_nnunet(folders, monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda package: "2.1.1" if package == "nnunetv2" else "99.0")


def no_numba(folders, monkeypatch):
    def version(package):
        if package == "numba":
            raise doctor.PackageNotFoundError(package)
        return "99.0"

    monkeypatch.setattr(doctor, "version", version)


def not_found(folders, monkeypatch):
    monkeypatch.setattr(doctor, "LOOK_UP", "raise SystemExit('no such trainer')")
    monkeypatch.setenv(doctor.VARIABLE, "")


def full_disk(folders, monkeypatch):
    def refuse(dir):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)


@pytest.mark.parametrize(
    ("spoil", "said", "fix"),
    [
        (no_folder, "nnUNet_raw: no such folder", "-> mkdir -p"),
        (unset, "nnUNet_results           not set", "-> export nnUNet_results="),
        (
            full_disk,
            "cannot be written (No space left on device)",
            "-> change its rights, or set nnUNet_raw to another",
        ),
        (unknown_engine, "fails: engine: got 'fastest'", "-> set NNUNET_MAMBA_SCAN to another name, or unset it"),
        (gpu_engine, "fails: engine: got 'mamba_ssm' for tensors on cpu", "-> set NNUNET_MAMBA_SCAN to another name"),
        (old_nnunet, "nnunetv2                 2.1.1, wanted 2.8 or later", "-> pip install --upgrade 'nnunetv2>=2.8'"),
        (no_numba, "numba                    not installed", "-> pip install numba"),
        (not_found, "no: no such trainer", "-> this Python does not read .pth files: set nnUNet_extTrainer="),
    ],
)
def test_each_red_line_has_a_fix(folders, monkeypatch, capsys, spoil, said, fix):
    monkeypatch.setattr(doctor, "LOOK_UP", "print('FOUND nnunet_mamba.trainers')")  # the search itself takes seconds
    spoil(folders, monkeypatch)
    assert main(["doctor"]) == 1
    report = capsys.readouterr().out
    assert said in report and fix in report and "to fix" in report
