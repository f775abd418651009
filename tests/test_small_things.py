"""What every room uses: files written whole, first lines of errors, nnU-Net's folders, the device."""

import pytest

from nnunet_mamba.devices import best_device
from nnunet_mamba.files import replacing
from nnunet_mamba.messages import first_line
from nnunet_mamba.nnunet_folders import VARIABLES, nnunet_folder


def test_a_file_is_replaced_whole(tmp_path):
    file = tmp_path / "a.json"
    with replacing(file) as unfinished:
        unfinished.write_text("1")
        assert not file.exists()
    assert file.read_text() == "1" and list(tmp_path.iterdir()) == [file]


def test_a_file_that_fails_leaves_the_old_one(tmp_path):
    file = tmp_path / "a.json"
    file.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(file) as unfinished:
        unfinished.write_text("half")
        raise KeyboardInterrupt
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("error", "line"), [(ValueError("  one\ntwo"), "one"), (OSError(), "OSError"), (RuntimeError("\n"), "RuntimeError")]
)
def test_first_line(error, line):
    assert first_line(error) == line


def test_a_folder_of_nnunets(monkeypatch, tmp_path):
    for variable in VARIABLES:
        monkeypatch.setenv(variable, str(tmp_path))
        assert nnunet_folder(variable) == tmp_path
        for unset in ("", None):
            monkeypatch.setenv(variable, "") if unset == "" else monkeypatch.delenv(variable)
            with pytest.raises(ValueError, match=f"{variable} is not set: export {variable}=/"):
                nnunet_folder(variable)


def test_the_best_device_is_there():
    import torch

    assert torch.zeros(1, device=best_device()).device.type == best_device()
