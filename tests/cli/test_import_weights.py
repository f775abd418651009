"""nnunet_mamba import-weights: its file, its report, and loading by nnU-Net."""

from argparse import Namespace

import pytest
import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

from helpers.recorded import published_state
from helpers.vmamba_tiny import state_dict
from nnunet_mamba.cli.main import main
from nnunet_mamba.networks import (
    DAMambaNet,
    DermoMamba,
    SliceMamba,
    SliceMambaSupernet,
    load_published_state_dict,
)


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
            "got a file that torch did not write, or that is damaged (copy or download it again), wanted a torch",
        ),
        (b"", "got an empty file, wanted a torch checkpoint of tensors and plain values"),
        (b"\n<!DOCTYPE html>", "got a web page (download the file itself), wanted"),
        (
            b"PK\x03\x04half of a checkpoint",
            "got a zip file that torch cannot read: half written or cut off (copy or download it again), or not",
        ),
        (
            {"model": {"a": NotPlain()}},
            "got objects of the type print, which may run code when they are read (",
        ),
        ({"model": {}, "args": Namespace(a=1)}, "got objects of the type argparse.Namespace, which may run code"),
        (
            {"epoch": 3},
            "got dict without weights, wanted a state dict, or a checkpoint that has one as its 'state_dict'",
        ),
        ([torch.zeros(1)], "got list without weights, wanted a state dict"),
        ({"network_weights": {}}, "got a checkpoint of nnU-Net; -pretrained_weights takes it as it is"),
        ({"model": {"conv1.weight": torch.zeros(2)}}, "got 1 entries, the first 'conv1.weight', wanted "),
    ],
    ids=[
        *("missing", "no checkpoint", "empty", "page", "half", "code", "options", "no weights", "list", "nnU-Net"),
        "another network",
    ],
)
@pytest.mark.parametrize("source", ["vmamba", "dermomamba"])
def test_bad_files_are_named_and_nothing_is_written(content, message, source, tmp_path, capsys):
    file = tmp_path / "file.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    before = sorted(tmp_path.iterdir())
    assert main(["import-weights", source, str(file), "-o", str(tmp_path / "out.pth")]) == 1
    printed = capsys.readouterr()
    assert message in printed.err and "unpickled" not in printed.out and printed.err.count("\n") == 1
    assert (
        "weights_only" not in printed.err and "PyTorch 2" not in printed.err
    )  # torch's advice to read it all the same
    assert sorted(tmp_path.iterdir()) == before


def test_output_needs_a_folder(checkpoint, tmp_path, capsys):
    assert main(["import-weights", "vmamba", str(checkpoint), "-o", str(tmp_path / "no" / "out.pth")]) == 1
    assert "is not a folder; make it first" in capsys.readouterr().err


PUBLISHED = {  # our network for other classes, and one for the weights' own
    "da_mambanet": (lambda: DAMambaNet(3, 5, (190, 250)), lambda: DAMambaNet(3, 1, (192, 256))),
    "dermomamba": (lambda: DermoMamba(3, 5, (192, 256), True), lambda: DermoMamba(3, 1, (192, 256))),
    "slicemamba": (lambda: SliceMamba(3, 5, [(2, 4)] * 22), lambda: SliceMamba(3, 2)),
}


@pytest.fixture(scope="module")
def published():
    return {source: published_state(source) for source in PUBLISHED}


def lightning(state):
    """The checkpoint of a LightningModule with the network as its `model` and weights of a loss."""
    inside = {f"model.{name}": tensor for name, tensor in state.items()} | {"loss.weight": torch.ones(2)}
    return {"epoch": 3, "pytorch-lightning_version": "2.5.0", "hyper_parameters": {"lr": 1e-3}, "state_dict": inside}


def run(source, content, folder, *options):
    """Convert `content`; returns the exit status and the written file."""
    file, out = folder / "theirs.pth", folder / "ours.pth"
    torch.save(content, file)
    return main(["import-weights", source, str(file), "-o", str(out), *options]), out


@pytest.mark.parametrize("wrap", [dict, lightning], ids=["plain", "Lightning"])
@pytest.mark.parametrize("source", PUBLISHED)
def test_the_authors_weights_become_pretrained_weights(source, wrap, published, tmp_path, capsys):
    status, out = run(source, wrap(published[source]), tmp_path)
    said = capsys.readouterr().out.splitlines()
    other, own = (make() for make in PUBLISHED[source])
    load_published_state_dict(own, published[source])
    load_pretrained_weights(other, str(out))
    theirs, ours = own.state_dict(), other.state_dict()
    heads = [name for name in theirs if ".seg_layers." in name]
    weights = [name for name in theirs if name not in heads and not name.endswith("_extra_state")]
    assert status == 0 and all(torch.equal(ours[name], theirs[name]) for name in weights)
    assert not any(name in torch.load(out, weights_only=True)["network_weights"] for name in heads)
    skipped = len(heads) + (wrap is lightning)
    assert said[-1] == f"{len(weights)} keys used, {skipped} skipped, {len(heads)} missing; written: {out}"
    kinds = [line.split()[0] for line in said[:-2]]
    assert [kinds.count(kind) for kind in ("used", "skipped", "missing")] == [len(weights), skipped, len(heads)]
    assert said[-2].startswith(
        "for      in_channels 3, " + ("dims 96" if source == "slicemamba" else "patches of 192x256")
    )
    assert ("skipped  loss.weight: the network has no such part" in said) == (wrap is lightning)


@pytest.mark.parametrize(("source", "make"), [("da_mambanet", DAMambaNet), ("dermomamba", DermoMamba)])
def test_other_patches_and_grey_images(source, make, published, tmp_path, capsys):
    """What depends on the patch size starts at random; one channel is treated like three equal ones."""
    status, out = run(source, published[source], tmp_path, "--patch", "70", "96", "--in-channels", "1")
    said = capsys.readouterr().out
    network = make(1, 2, (70, 96))
    load_pretrained_weights(network, str(out))
    assert status == 0 and "in_channels 1, patches of 96x96 once padded" in said
    stem = network.stem[0] if source == "da_mambanet" else network.stem
    torch.testing.assert_close(stem.weight, published[source]["pw_in.weight"].sum(1, keepdim=True))
    dependent = "spatial_attention.mix" if source == "da_mambanet" else "sweep_mamba.over_"
    at_random = [line for line in said.splitlines() if line.endswith("starts at random")]
    assert at_random and all(dependent in line for line in at_random)


@pytest.mark.parametrize(
    ("source", "content", "options", "message"),
    [
        ("da_mambanet", lambda p: p["dermomamba"], (), "got DermoMamba's weights, wanted DAMambaNet's as published"),
        ("dermomamba", lambda p: lightning(p["da_mambanet"]), (), "got DAMambaNet's weights, wanted DermoMamba's as"),
        ("slicemamba", lambda p: state_dict(), (), "got VMamba's weights, wanted SliceMamba's as published"),
        ("vmamba", lambda p: p["slicemamba"], (), "got SliceMamba's weights, wanted VMamba's VSSM as first released"),
        (
            "dermomamba",
            lambda p: p["dermomamba"] | {"e1.pw.weight": torch.zeros(8, 16, 3, 3)},
            (),
            "got a DermoMamba of other sizes: e1.pw.weight is (8, 16, 3, 3), not (32, 16, 3, 3)",
        ),
        ("slicemamba", lambda p: p["slicemamba"], ("--patch", "64", "64"), "--patch: SliceMamba fits every patch size"),
        (
            "dermomamba",
            lambda p: p["dermomamba"],
            ("--patch", "8", "64"),
            "--patch: got input_size (8, 64), wanted (H, W) of at least 16",
        ),
        (
            "dermomamba",
            lambda p: p["dermomamba"],
            ("--supernet",),
            "--supernet: only VMamba's weights serve a supernet",
        ),
        ("dermomamba", lambda p: p["dermomamba"], ("--in-channels", "0"), "--in-channels: got 0, wanted 1 or more"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_weights_that_do_not_fit_are_named(source, content, options, message, published, tmp_path, capsys):
    status, out = run(source, content(published), tmp_path, *options)
    said = capsys.readouterr().err
    assert status == 1 and message in said and said.count("\n") == 1 and not out.exists()


def test_a_checkpoint_that_was_cut_off_is_refused(published, tmp_path, capsys):
    status, out = run("dermomamba", published["dermomamba"], tmp_path)
    assert status == 0
    out.unlink()
    whole = (tmp_path / "theirs.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    assert main(["import-weights", "dermomamba", str(tmp_path / "cut.pth"), "-o", str(out)]) == 1
    assert (
        "cut.pth: got a zip file that torch cannot read: half written or cut off" in capsys.readouterr().err
        and not out.exists()
    )
