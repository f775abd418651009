"""nnunet_mamba import-weights: its file, its report, and loading by nnU-Net."""

from argparse import Namespace

import pytest
import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

from helpers.vmamba_tiny import state_dict
from nnunet_mamba.cli.main import main
from nnunet_mamba.networks import SliceMamba, SliceMambaSupernet


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Like VMamba's: the weights and other results of a training."""
    file = tmp_path_factory.mktemp("vmamba") / "vssm_tiny.pth"
    torch.save({"model": state_dict(), "epoch": 292, "max_accuracy": 82.2}, file)
    return file


@pytest.mark.parametrize("supernet", [False, True], ids=["network", "supernet"])
def test_nnunet_takes_the_file_as_pretrained_weights(checkpoint, tmp_path, capsys, supernet):
    out = tmp_path / "weights.pth"
    assert main(["import-weights", "vmamba", str(checkpoint), "-o", str(out), *["--supernet"] * supernet]) == 0
    said = capsys.readouterr().out.splitlines()
    kinds = [line.split()[0] for line in said]
    assert kinds.count("used") == 208 and kinds.count("skipped") == 4
    assert said[-1].startswith("208 keys used, 4 skipped, ")
    assert any(line.startswith("used     layers.0.blocks.0.ln_1.weight -> encoder.0.0.") for line in said)
    assert "skipped  head.weight: the network has no such part" in said
    network = (
        SliceMambaSupernet(3, 5) if supernet else SliceMamba(3, 5, [(2, 4)] * 22)
    )  # other classes, another slicing
    head = network.head["seg_layers"].weight.clone()
    load_pretrained_weights(network, str(out))
    assert torch.equal(network.head["seg_layers"].weight, head)
    name = "decoder.3.0.3.scan.Ds" if supernet else "decoder.3.0.scan.Ds"
    assert torch.equal(network.state_dict()[name], state_dict()["layers.0.blocks.0.self_attention.Ds"])
    if not supernet:
        assert network.slicing == ((2, 4),) * 22


class NotPlain:
    """Content of a checkpoint that runs code when it is unpickled."""

    def __reduce__(self):
        return (print, ("unpickled",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (
            b"not a checkpoint",
            "got a file that torch did not write, or that is damaged (download it again), wanted a torch",
        ),
        (b"", "got an empty file, wanted a torch checkpoint of tensors and plain values"),
        (b"\n<!DOCTYPE html>", "got a web page (download the file itself), wanted"),
        (
            b"PK\x03\x04half of a checkpoint",
            "got a zip file that torch cannot read: cut off (download it again), or not",
        ),
        (
            {"model": {"a": NotPlain()}},
            "got objects of the type print, which may run code when they are read (",
        ),
        ({"model": {}, "args": Namespace(a=1)}, "got objects of the type argparse.Namespace, which may run code"),
        ({"epoch": 3}, "wanted a state dict, or a checkpoint that has one"),
        ({"model": {"conv1.weight": torch.zeros(2)}}, "none of its 1 keys fits, the first is 'conv1.weight'"),
    ],
    ids=["missing", "no checkpoint", "empty", "page", "half", "code", "options", "no weights", "another network"],
)
def test_bad_files_are_named_and_nothing_is_written(content, message, tmp_path, capsys):
    file = tmp_path / "file.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    before = sorted(tmp_path.iterdir())
    assert main(["import-weights", "vmamba", str(file), "-o", str(tmp_path / "out.pth")]) == 1
    printed = capsys.readouterr()
    assert message in printed.err and "unpickled" not in printed.out
    assert (
        "weights_only" not in printed.err and "PyTorch 2" not in printed.err
    )  # torch's advice to read it all the same
    assert sorted(tmp_path.iterdir()) == before


def test_output_needs_a_folder(checkpoint, tmp_path, capsys):
    assert main(["import-weights", "vmamba", str(checkpoint), "-o", str(tmp_path / "no" / "out.pth")]) == 1
    assert "is not a folder; make it first" in capsys.readouterr().err
