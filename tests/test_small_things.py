"""What every room uses: files written whole, first lines of errors, nnU-Net's folders, the device."""

import pytest

from nnunet_mamba.devices import best_device
from nnunet_mamba.files import replacing
from nnunet_mamba.messages import first_line
from nnunet_mamba.nnunet_folders import (
    VARIABLES,
    dataset_number,
    find_dataset_folder,
    nnunet_folder,
    require_writable,
)


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


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("501", "Dataset501_PH2"),
        ("PH2", "Dataset501_PH2"),
        ("Dataset501_PH2", "Dataset501_PH2"),
        ("7", "Dataset007_My_Own"),
        ("My_Own", "Dataset007_My_Own"),
        ("Dataset1000_Many", "Dataset1000_Many"),
        ("Own", "got Own, wanted the number or name"),
        ("50", r"got 50, wanted .*; there are Dataset007_My_Own, Dataset1000_Many, Dataset501_PH2, Dataset502_Twice\."),
        ("502", "got several data sets of this name or number, Dataset502_Other, Dataset502_Twice; wanted one"),
    ],
)
def test_a_data_set_by_number_or_name(monkeypatch, tmp_path, asked, found):
    monkeypatch.delenv("nnUNet_results", raising=False)
    for variable, names in (
        ("nnUNet_raw", ["Dataset501_PH2", "Dataset007_My_Own", "Dataset502_Twice", ".Dataset501_PH2.partial"]),
        ("nnUNet_preprocessed", ["Dataset501_PH2", "Dataset1000_Many"] + ["Dataset502_Other"] * (asked == "502")),
    ):
        monkeypatch.setenv(variable, str(tmp_path / variable))
        for name in names:
            (tmp_path / variable / name).mkdir(parents=True)
    if found.startswith("Dataset"):
        assert find_dataset_folder(asked) == found and f"{dataset_number(found):03}" in found
    else:
        with pytest.raises(ValueError, match=found):
            find_dataset_folder(asked)


def test_a_writable_folder_is_made_and_stays_empty(tmp_path):
    require_writable("nnUNet_raw", tmp_path / "new" / "raw")
    assert list((tmp_path / "new" / "raw").iterdir()) == []


def test_the_best_device_is_there():
    import torch

    assert torch.zeros(1, device=best_device()).device.type == best_device()
