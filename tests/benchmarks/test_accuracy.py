"""benchmarks/accuracy without Snakemake: the config, the trainers, the plans, and the page from made-up runs."""

import csv
import json
import os
import re
import sys
from collections import Counter
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
from PIL import Image

from helpers import accuracy_runs, tiny_nnunet
from nnunet_mamba import catalogue, losses
from nnunet_mamba.trainers.averaged_weights import AveragedWeights

ACCURACY = Path(__file__).parents[2] / "benchmarks" / "accuracy"
CONFIG = yaml.safe_load((ACCURACY / "config.yaml").read_text())
sys.path.insert(0, str(ACCURACY))
import gather  # noqa: E402
import matrix  # noqa: E402
import plans  # noqa: E402
import table  # noqa: E402
import worst  # noqa: E402

sys.path.remove(str(ACCURACY))


def read(**changed):
    return matrix.read(CONFIG | changed)


TABLE = {name: column for name, column in read().columns.items() if not column.choices}


def with_column(**changed):
    config = deepcopy(CONFIG)
    config["columns"]["PH2"] |= changed
    return config


def find(name):
    """As nnU-Net finds a trainer in a folder of nnUNet_extTrainer."""
    folder = str(ACCURACY / "trainers")
    return recursive_find_python_class(folder, name, None, base_folder=folder, cleanup_imports_from_base_folder=True)


def test_the_config_has_the_papers_columns_and_all_rows():
    found = read()
    sizes = {"PH2": (192, 256), "DSB2018": (256, 256), "SunnybrookEndo": (160, 160), "SunnybrookEpi": (160, 160)}
    assert {name: column.patch for name, column in TABLE.items()} == sizes | {"ChestXray": (256, 256)}
    assert len({column.images_seen for column in found.columns.values()}) == 1
    assert all(
        run.column.epochs * run.column.iterations * run.column.batch == run.column.images_seen for run in found.runs
    )
    trained = {(row.trainer, row.changes) for row in found.rows.values() if row.group != "candidate"}
    finds = {entry.trainer for entry in catalogue.entries() if entry.finds}
    ours = set(catalogue.names()) - finds
    assert trained == {(trainer, ()) for trainer in ours | {"nnUNetTrainer"}} | {
        (entry.trainer, ("nnunet_loss",)) for entry in catalogue.NETWORKS if "nnU-Net's" not in entry.loss
    }
    assert {row.plans for row in found.rows.values()} == set(found.plans)
    groups = Counter(row.group for row in found.rows.values())
    rows = len(TABLE) * (len(found.rows) - groups["candidate"])
    rows += (len(found.columns) - len(TABLE)) * (len(found.rows) - groups["ablation"] - groups["tuned"])
    assert len(found.runs) == rows * len(CONFIG["folds"]) * len(CONFIG["seeds"])
    assert len({(run.column.folder, run.model, run.fold) for run in found.runs}) == len(found.runs)  # a folder each


def test_parts_of_the_matrix_as_snakemake_gives_them():
    found = read(datasets="PH2", trainers=["ablation", "nnunet"], folds=["1", "all"], seeds="3").runs
    assert {run.column.name for run in found} == {"PH2"}
    assert {run.row.name for run in found} == {
        "nnunet",
        "nnunet_asfm",
        "nnunet_guide_fusion",
        "da_mambanet_nnunet_loss",
        "dermomamba_nnunet_loss",
    }
    assert {(run.fold, run.seed) for run in found} == {("1", 3), ("all", 3)}
    text = matrix.read(with_column(patch=["64", "96"], batch="2", images_seen="40", iterations="4")).columns["PH2"]
    assert (text.patch, text.epochs) == ((64, 96), 5)
    assert text.folder == found[0].column.folder == "PH2_size_192_256_test_40_seed_0"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (CONFIG | {"datasets": "ISIC"}, "datasets: got ISIC, wanted all, or any of PH2, DSB2018"),
        (CONFIG | {"trainers": ["nnunet", "unet"]}, "trainers: got unet, wanted all, or any of nnunet"),
        (CONFIG | {"folds": ["x"]}, "folds: got 'x', wanted all (every training case, no validation), or a whole"),
        (CONFIG | {"seeds": []}, "seeds: got none, wanted at least one"),
        (CONFIG | {"seeds": [-1]}, "seeds: got -1, wanted a whole number from 0"),
        (CONFIG | {"papers": {"unet": {"what": "", "numbers": {}}}}, "papers: got unet, wanted all, or any of nnunet"),
        (
            CONFIG | {"papers": {"nnunet": {"what": "", "numbers": {"PH2": [0.95, 191]}}}},
            "papers: nnunet: PH2: got [0.95, 191], wanted [Dice, IoU] in percent",
        ),
        (CONFIG | {"first": "stock"}, "first: got 'stock', wanted a row: nnunet"),
        (
            with_column(images_seen=5000),
            "columns: PH2: images_seen: got 5000, wanted a multiple of 400: an epoch is 50",
        ),
        (with_column(batch=0), "columns: PH2: batch: got 0, wanted a whole number from 1"),
        (with_column(patch=[192]), "columns: PH2: patch: got [192], wanted [height, width]"),
        (with_column(epochs=5), "columns: PH2: got epochs; wanted title, dataset"),
        (with_column(id=502), "id: got the same for PH2 and DSB2018, 502"),
        (CONFIG | {"rows": {"a__b": {}}}, "rows: got the name 'a__b', wanted letters, digits and single underscores"),
        (CONFIG | {"rows": {"a": {"trainer": "T"}}}, "rows: a: got no group, plans, what; wanted trainer, what"),
        (
            CONFIG | {"rows": {"a": {"trainer": "T", "what": "", "group": "ours", "plans": "x"}}},
            "rows: a: plans: got 'x', wanted one of unet, resenc",
        ),
    ],
)
def test_a_wrong_config_says_what_is_wanted(config, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        matrix.read(config)


@pytest.mark.parametrize("row", CONFIG["rows"])
def test_nnunet_finds_each_row(row):
    run = next(run for run in read(datasets=["PH2", "PH2Half"], trainers=row, seeds=7).runs)
    found = find(run.trainer)
    assert found.__name__ == run.trainer and f"__{run.plans}__" in run.model
    assert CONFIG["rows"][row]["trainer"] in [base.__name__ for base in found.__mro__]
    assert (found.num_epochs, found.num_iterations_per_epoch, found.num_val_iterations_per_epoch) == (12, 50, 10)
    assert (found.seed, found.save_every) == (7, 1)


def test_nnunet_looks_on_where_a_name_is_not_the_benchmarks():
    assert find("nnUNetTrainer_12epochs") is None
    assert find("NoTrainer_12epochs_50iterations_seed0") is None


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The variables of a data set of three cases, batches made in this process."""
    home = tmp_path_factory.mktemp("accuracy")
    split = [{"train": ["disc0", "disc1"], "val": ["disc2"]}]
    return tiny_nnunet.write(home, tiny_nnunet.discs(3), split) | {"nnUNet_n_proc_DA": "0"}


@pytest.fixture
def make(data, tmp_path, monkeypatch):
    """make(name): a trainer as nnUNetv2_train makes it, with results in a folder of this test."""
    for name, value in (data | {"nnUNet_results": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    # these take longer than the trainings
    monkeypatch.setattr(nnUNetDatasetBlosc2, "unpack_dataset", lambda *args, **kwargs: None)
    monkeypatch.setattr(MetaLogger, "plot_progress_png", lambda self, folder: None)
    return lambda name: tiny_nnunet.trainer(find(name), os.environ)


@pytest.mark.parametrize("entry", catalogue.NETWORKS[:2], ids=lambda entry: entry.key)
def test_nnunet_loss_takes_the_place_of_the_papers(make, entry):
    with_papers, with_nnunets = (
        make(f"{entry.trainer}{loss}_1epochs_1iterations_seed0") for loss in ("", "_nnunetloss")
    )
    papers, nnunets = with_papers._build_loss(), with_nnunets._build_loss()
    if with_papers.enable_deep_supervision:
        assert nnunets.weight_factors == papers.weight_factors
        papers, nnunets = papers.loss, nnunets.loss
    assert isinstance(papers, (losses.ASFMLoss, losses.GuideFusionLoss))
    assert type(nnunets).__name__ == "DC_and_CE_loss"
    assert with_nnunets.initial_lr == with_papers.initial_lr


def test_a_candidate_differs_in_what_it_names(make):
    plain, poly, both = (
        make(f"DAMambaTrainer{change}_4epochs_1iterations_seed0") for change in ("", "_poly", "_crossentropy")
    )
    rates = []
    for trainer in (plain, poly):
        trainer.initialize()
        for epoch in range(4):
            trainer.lr_scheduler.step(epoch)
            rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-3] * 4 + [1e-3 * (1 - epoch / 4) ** 0.9 for epoch in range(4)])
    assert type(poly.optimizer) is type(plain.optimizer)
    logits, target = torch.randn(2, 2, 8, 8), torch.randint(0, 2, (2, 1, 8, 8)).float()
    published, other = (trainer._build_loss().loss for trainer in (plain, both))
    assert other(logits, target) == losses.ASFMLoss(index="root", cross_entropy=1)(logits, target)
    assert published(logits, target) == losses.ASFMLoss()(logits, target) != other(logits, target)


def test_candidates_of_several_changes(make):
    trainer = make("DAMambaTrainer_crossentropy_poly_average_4epochs_1iterations_seed0")
    assert isinstance(trainer, AveragedWeights) and trainer.asfm_cross_entropy == 1
    trainer.initialize()
    trainer.lr_scheduler.step(2)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * 0.5**0.9)
    for change, rate in (("rate", 3e-4), ("tenfold", 1e-3)):
        faster = make(f"DermoMambaTrainer_{change}_poly_4epochs_1iterations_seed0")
        faster.initialize()
        assert faster.initial_lr == faster.optimizer.param_groups[0]["lr"] == pytest.approx(rate)
    row = read().rows["da_mambanet_poly_average"]
    assert row.changes == ("poly", "average")
    with pytest.raises(ValueError, match="rows: wrong: changes: got 'faster', wanted one of nnunet_loss"):
        read(rows=CONFIG["rows"] | {"wrong": CONFIG["rows"]["nnunet"] | {"changes": ["poly", "faster"]}})


def train(trainer, until=None):
    """Run it, or stop it as `kill -9` does, before epoch `until`; returns the images of each step and the weights."""
    seen, take = [], trainer.train_step

    def step(batch):
        if trainer.current_epoch == until:
            raise KeyboardInterrupt
        seen.append(batch["data"].clone())
        return take(batch)

    trainer.train_step = step
    try:
        trainer.run_training()
    except KeyboardInterrupt:
        assert until is not None
    return seen, {name: value.clone() for name, value in trainer.network.state_dict().items()}


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_tuned_trainer_is_the_candidate_that_won(make):
    """The same images, weights and average, bit by bit."""
    runs = [
        train(make(f"DAMambaTrainer_{recipe}_2epochs_2iterations_seed0"))
        for recipe in ("tuned", "rate_poly_average", "poly_average")
    ]
    (images, tuned), (same_images, candidate), (_, other) = runs
    assert len(images) == 4 and all(map(torch.equal, images, same_images))
    assert same(tuned, candidate) and not same(tuned, other)


def test_a_seed_gives_a_training_that_can_stop_and_go_on(make):
    name = "nnUNetTrainer_3epochs_2iterations_seed{}".format
    images, weights = train(make(name(0)))
    stopped = make(name(0))
    torch.manual_seed(99)  # whatever happened in this process before
    np.random.seed(99)
    first_images, _ = train(stopped, until=1)
    record = Path(stopped.output_folder, gather.RECORD)
    assert json.loads(record.read_text())["images_seen"] == 4  # of 2 steps
    goes_on = make(name(0))
    goes_on.load_checkpoint(str(Path(stopped.output_folder, "checkpoint_latest.pth")))
    last_images, gone_on = train(goes_on)
    assert len(images) == 6 and all(map(torch.equal, images, first_images + last_images))
    assert same(weights, gone_on)
    other_images, other_weights = train(make(name(1)))
    assert not torch.equal(images[0], other_images[0]) and not same(weights, other_weights)

    recorded = json.loads(record.read_text())
    assert {key: recorded[key] for key in ("seed", "epochs", "images_seen", "patch_size", "batch_size")} == {
        "seed": 0,
        "epochs": 3,
        "images_seen": 12,
        "patch_size": [32, 32],
        "batch_size": 2,
    }
    assert [(run["first_epoch"], run["steps"]) for run in recorded["runs"]] == [(0, 2), (1, 4)]
    for run in recorded["runs"]:
        assert run["command"].startswith(f"nnUNetv2_train Dataset009_Tiny 2d 0 -tr {name(0)} -p nnUNetPlans")
        assert re.fullmatch(r"[0-9a-f]{10}\+?|unknown", run["commit"]) and run["seconds_per_step"] > 0
        assert run["peak_bytes"] > 2**24 and run["device"] == "cpu"
        assert run["processor"] == f"CPU ({torch.backends.cpu.get_cpu_capability()})"


def test_a_seed_reaches_the_data_workers(make, monkeypatch):
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")

    def batch(seed):
        trainer = make(f"nnUNetTrainer_1epochs_1iterations_seed{seed}")
        trainer.initialize()
        loaders = trainer.get_dataloaders()
        images = next(loaders[0])["data"].clone()
        for loader in loaders:
            loader._finish()
        return images

    one, again, other = map(batch, (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_plans_of_a_column():
    planned = tiny_nnunet.plans((64, 96))
    sizes = {"dims": [8, 16]}
    made = plans.with_batch(planned, "New", [64, 96], 8, sizes)
    assert made["plans_name"] == "New" and list(made["configurations"]) == ["2d"]
    assert made["configurations"]["2d"] == planned["configurations"]["2d"] | {"batch_size": 8, "slicemamba": sizes}
    with pytest.raises(ValueError, match=r"patch: got \[64, 64\] in config.yaml, but nnU-Net plans \[64, 96\]"):
        plans.with_batch(planned, "New", [64, 64], 8)
    planned["configurations"]["2d"]["data_identifier"] = "Others_2d"
    with pytest.raises(ValueError, match="preprocessed data Others_2d, wanted nnUNetPlans_2d"):
        plans.with_batch(planned, "New", [64, 96], 8)


def made_up(run, dice, **changed):
    """A run with these Dice per case, as gather.py writes it."""
    cases = {f"case{i}": {"dice": value, "iou": value / (2 - value), "hd95": 4.5} for i, value in enumerate(dice)}
    return {
        "column": run.column.name,
        "row": run.row.name,
        "fold": run.fold,
        "seed": run.seed,
        "settings": run.column.settings,
        "trainer": run.trainer,
        "plans": run.plans,
        "command": f"nnUNetv2_train {run.trainer}",
        "commit": "0123456789",
        "versions": {"torch": "2"},
        "started": "2026-01-01",
        "machine": {"device": "cpu", "processor": "CPU (AVX2)", "threads": 1},
        "parameters": 5_000_000,
        "seconds_per_step": 0.5 + run.seed / 4,
        "peak_bytes": 2**30,
        "unit": "px",
        "cases": cases,
    } | changed


def cells(page, start):
    """The cells of the lines that begin with `start`."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith(start)
    ]


def test_the_page_without_runs_says_so():
    page = table.render(read(), [])
    assert "**No run has been made yet" in page and page.count("No run yet.") == len(CONFIG["columns"])
    assert not re.search(r"\| *\d+\.\d+", page)


def test_the_page_is_made_of_the_runs():
    runs = {run.key: run for run in read(datasets="PH2", trainers=["nnunet", "slicemamba"]).runs}
    ten = np.linspace(0.8, 0.89, 10)
    results = [
        made_up(runs["PH2", "nnunet", "0", 0], ten),
        made_up(runs["PH2", "nnunet", "0", 1], ten + 0.02),
        made_up(runs["PH2", "slicemamba", "0", 0], ten + 0.05),  # better in each case than nnunet with seed 0
        made_up(runs["PH2", "slicemamba", "0", 1], ten, trainer="with another budget"),
    ]
    page = table.render(read(), results)
    stock, ours = cells(page, "| nnU-Net |")[1], cells(page, "| SliceMamba, nnU-Net's loss |")[1]
    # 84.5 with seed 0 and 86.5 with seed 1; intervals from a bootstrap of ten cases; 2 / 2**10 is the least p of ten
    assert re.fullmatch(r"85\.50 \(8[345]\.\d\d to 8[67]\.\d\d\)", stock[1]) and ours[1].startswith("89.50 (")
    assert stock[3] == ours[3] == "–" and stock[4].startswith("4.50 (")
    assert (stock[5], ours[5]) == ("–", "0.002")
    assert stock[6:] == ["5.00 M", "0.5 to 0.75 s", "1.00 GiB", "2"] and ours[6:] == [
        "5.00 M",
        "0.5 s",
        "1.00 GiB",
        "1",
    ]
    each = cells(page, "| nnU-Net | 0 |")
    assert [line[1:4] for line in each] == [["0", "0", "84.50"], ["0", "1", "86.50"]]
    assert each[0][-4:] == ["0.5 s", "CPU (AVX2), 1 thread", "0123456789", f"`nnUNetv2_train {results[0]['trainer']}`"]
    assert "1 run in the file of results had other settings" in page
    assert (
        "Not run yet: nnU-Net, residual encoder; " in page and page.count("No run yet.") == len(CONFIG["columns"]) - 1
    )
    assert "10 test cases. CPU (AVX2), 1 thread." in page and "No run has been made yet" not in page


def test_recipes_are_compared_on_validation_cases(tmp_path):
    asked = {"datasets": "PH2Half", "trainers": ["da_mambanet", "da_mambanet_poly", "nnunet_asfm"]}
    runs = {run.key: run for run in read(**asked, folds=["0", "all"]).runs}
    assert {key[1:3] for key in runs} == {
        ("da_mambanet", "0"),
        ("da_mambanet_poly", "0"),
    }  # no ablation, not "all"
    ten = np.linspace(0.8, 0.89, 10)
    results = [
        made_up(runs["PH2Half", "da_mambanet", "0", 0], ten),
        made_up(runs["PH2Half", "da_mambanet", "0", 1], ten + 0.04),
        made_up(runs["PH2Half", "da_mambanet_poly", "0", 1], ten + 0.045),
    ]
    page = table.render(read(), results)
    before, after = page.split("## What was tried")
    assert before.count("No run yet.") == len(TABLE) and "nnU-Net's schedule" not in before
    assert "### PH2, 96x128" in after and "10 validation cases." in after
    plain, poly, *each = cells(after, "| DA-MambaNet, ASFM")
    assert [line[1:4] for line in each] == [["0", "0", "84.50"], ["0", "1", "88.50"], ["0", "1", "89.00"]]
    assert plain[1].startswith("86.50 (") and plain[3:] == ["84.50, 88.50", "–", "–"]
    assert poly[3:] == ["89.00", "+0.50 (+0.50 to +0.50)", "0.002"]

    run = runs["PH2Half", "da_mambanet_poly", "0", 1]
    folder = tmp_path / "validation"
    folder.mkdir()
    scores = [{"1": {"Dice": 0.5, "IoU": 1 / 3}, "2": {"Dice": float("nan"), "IoU": float("nan")}}]
    scores += [{"1": {"Dice": 0.25, "IoU": 0.5}, "2": {"Dice": 0.75, "IoU": 1.0}}]
    summary = [{"metrics": each, "prediction_file": f"work/case{i}.png"} for i, each in enumerate(scores)]
    (folder / "summary.json").write_text(json.dumps({"metric_per_case": summary}))
    assert run.column.choices and gather._validated(tmp_path)["cases"] == {
        "case0": {"dice": 0.5, "iou": 0.33333},
        "case1": {"dice": 0.5, "iou": 0.75},
    }
    with pytest.raises(ValueError, match="got da_mambanet_poly in PH2, wanted rows that run there: candidates"):
        read(datasets="PH2", trainers="da_mambanet_poly")


def test_all_data_sets_at_a_glance(tmp_path):
    """Columns and rows with a run, and what the papers of these rows report."""
    asked = read(datasets=["PH2", "DSB2018"], trainers=["nnunet", "dermomamba"], seeds=[0, 1]).runs
    runs = {run.key: run for run in asked}
    results = [
        made_up(runs["PH2", "nnunet", "0", 0], [0.8, 0.9]),
        made_up(runs["PH2", "dermomamba", "0", 0], [0.7, 0.9]),
        made_up(runs["PH2", "dermomamba", "0", 1], [0.8, 1.0]),
        made_up(runs["DSB2018", "nnunet", "0", 0], [0.5, 0.5]),
    ]
    for run in results:
        for case in run["cases"].values():
            case["iou"] = case["dice"] - 0.1
    page = table.render(read(), results).partition("## At a glance")[2].partition("\n## ")[0]
    assert cells(page, "| ") == [
        ["row", "PH2, 192x256", "DSB2018, 256x256"],
        ["---"] * 3,
        ["nnU-Net", "85.00 / 75.00", "50.00 / 40.00"],
        ["DermoMamba, Guide Fusion", "85.00 / 75.00", "–"],
        ["*its paper, Hoang et al. 2025*", "*95.56 / 91.57*", "*–*"],
    ]
    gather.write(tmp_path / "results.json", results)
    table.write_page(read(), tmp_path / "results.json", tmp_path / "results.md")
    assert "![Dice of each row" in page and np.asarray(Image.open(tmp_path / "results.png")).std() > 10
    table.write_page(read(), tmp_path / "none.json", tmp_path / "none.md")
    assert not (tmp_path / "none.png").exists() and "glance" not in (tmp_path / "none.md").read_text(encoding="utf-8")


def leave_evaluation(work, column, folder, dice):
    """What `nnunet_mamba report` leaves of predictions in `folder`, as far as it is read."""
    evaluated = work / column.folder / "evaluations" / column.dataset_folder / folder
    evaluated.mkdir(parents=True)
    (evaluated / "summary.json").write_text(json.dumps({"about": {"unit": "px"}}))
    lines = [f"case{i},{value},{value - 0.1}" for i, value in enumerate(dice)]
    (evaluated / "metrics.csv").write_text("\n".join(["case,dice,iou", *lines]))


def test_rows_together_have_a_line_in_the_table(tmp_path):
    found = read(datasets="PH2", trainers=["nnunet", "da_mambanet"], seeds=[0, 1])
    first, second = found.together
    assert first.key == ("PH2", "nnunet_and_da_mambanet", "0", 0) and second.key[-1] == 1
    assert [run.row.name for run in first.runs] == ["nnunet", "da_mambanet"]
    assert not read(datasets="PH2", trainers=["nnunet", "dermomamba"]).together
    assert not read(datasets="PH2", trainers=["nnunet", "da_mambanet"], soft_dice=False).together
    ten = np.linspace(0.8, 0.89, 10)
    results = [made_up(run, ten + 0.01 * (run.row.name != "nnunet")) for run in found.runs if run.seed == 0]
    leave_evaluation(tmp_path, first.column, first.folder, ten + 0.02)
    went_on = [results[0], results[1] | {"commit": "abcdef0123, 0123456789"}]
    assert gather.numbers_together(first, tmp_path, went_on)["commit"] == "0123456789, abcdef0123"
    together = gather.numbers_together(first, tmp_path, results)
    folders = [f"predictions/Dataset501_PH2/{run.model}/fold_0" for run in first.runs]
    made = f"predictions/Dataset501_PH2/{first.folder}"
    assert together["commit"] == "0123456789"
    assert together["command"] == f"nnUNetv2_ensemble -i {' '.join(folders)} -o {made}"
    page = table.render(read(), [*results, together])
    line = cells(page, f"| {CONFIG['ensembles']['nnunet_and_da_mambanet']['what']} |")[1]
    assert line[1].startswith("86.50 (") and line[5:] == ["0.004", "10.00 M", "–", "–", "1"]
    changed = together | {"of": ["nnUNetTrainer_1epochs_1iterations_seed0", "DAMambaTrainer_1epochs_1iterations_seed0"]}
    assert "1 run in the file of results had other settings" in table.render(read(), [*results, changed])
    wrong = {"of": ["nnunet", "da_mambanet_poly"], "what": "wrong"}
    with pytest.raises(ValueError, match="ensembles: wrong: of: got da_mambanet_poly, wanted all, or any of nnunet"):
        read(ensembles={"wrong": wrong})
    with pytest.raises(ValueError, match="of: got nnunet, wanted two rows or more"):
        read(ensembles={"wrong": wrong | {"of": "nnunet"}})


def test_what_the_same_weights_predict_otherwise(tmp_path):
    found = read(datasets="PH2", trainers=["nnunet", "dermomamba"], seeds=0)
    assert [varied.key[1] for varied in found.varied] == [
        *("nnunet__no_flips", "nnunet__processed"),
        *("dermomamba__no_flips", "dermomamba__processed"),
    ]
    assert not read(datasets="PH2Half", trainers="dermomamba").varied
    without_validation = read(datasets="PH2", trainers="nnunet", folds="all", seeds=0).varied
    assert [varied.variant.name for varied in without_validation] == ["no_flips"]
    ten = np.linspace(0.8, 0.89, 10)
    usual = [made_up(run, ten) for run in found.runs]
    results = list(usual)
    for varied, difference in zip(found.varied, (-0.01, 0.02, -0.03, 0.04), strict=True):
        run = varied.run
        leave_evaluation(tmp_path, run.column, varied.folder, ten + difference)
        results.append(gather.numbers_varied(varied, tmp_path, next(r for r in usual if r["row"] == run.row.name)))
        assert run.trainer in varied.command and f" -o predictions/Dataset501_PH2/{varied.folder}" in varied.command
    assert found.varied[0].command.endswith(f"-tr {found.runs[0].trainer} -p Accuracy_unet_batch8 --disable_tta")
    page = table.render(read(), results)
    start = page.index("| row | without flips | difference | with nnU-Net's post-processing | difference |")
    lines = page[start:].splitlines()[2:4]
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in lines] == [
        ["nnU-Net", "83.50 / 73.50", "-1.00 (-1.00 to -1.00)", "86.50 / 76.50", "+2.00 (+2.00 to +2.00)"],
        [
            "DermoMamba, Guide Fusion",
            "81.50 / 71.50",
            "-3.00 (-3.00 to -3.00)",
            "88.50 / 78.50",
            "+4.00 (+4.00 to +4.00)",
        ],
    ]
    assert "| nnU-Net, without flips | 0 | 0 | 83.50 |" in page
    assert "| nnU-Net | 85" not in page and page.count("| 84.50 (") == 2  # the usual table has the usual numbers
    changed = results[2] | {"of": ["nnUNetTrainer_1epochs_1iterations_seed0"]}
    assert "1 run in the file of results had other settings" in table.render(read(), [*usual, changed])
    gone = results[2] | {"row": "nnunet__rotated"}
    assert "1 run in the file of results had other settings" in table.render(read(), [*usual, gone])
    for wrong, got in (({}, "neither"), ({"predict": "--disable_tta", "postprocess": True}, "both")):
        with pytest.raises(ValueError, match=f"variants: wrong: got {got} of predict and postprocess, wanted one"):
            read(variants={"wrong": {"what": "wrong"} | wrong})


def test_names_of_cases_have_room_above_a_panel():
    short = ["IMD043", "SC-HF-I-02_0207"]
    assert list(worst.short_names(short).values()) == short
    first, second = "a" * 64, "a" * 14 + "b" * 50
    assert worst.short_names([first, second]) == {first: "a" * 15 + "…", second: "a" * 14 + "b…"}


def test_the_worst_cases_are_drawn_as_outlines(tmp_path):
    found = read(datasets="PH2", trainers=["nnunet", "slicemamba", "da_mambanet"], seeds=[0, 1])
    column = found.columns["PH2"]
    raw = tmp_path / column.folder / "nnUNet_raw" / column.dataset_folder / "labelsTs"
    cases = {f"case{i}": 0.9 - i / 20 for i in range(8)}

    def write(folder, shift):
        folder.mkdir(parents=True)
        for i, case in enumerate(cases):
            mask = np.zeros((48, 64), np.uint8)
            mask[10 + shift : 30 + shift, 5 * i : 5 * i + 20] = 1
            Image.fromarray(mask).save(folder / f"{case}.png")

    assert not worst.draw(found, column, tmp_path, tmp_path / "none.png") and not (tmp_path / "none.png").exists()
    write(raw, 0)
    for run in found.runs:
        if run.row.name != "da_mambanet" and run.seed == 1:  # one row has no run, the others only their second seed
            of_run = Path(column.dataset_folder, run.model, "fold_0")
            write(tmp_path / column.folder / "predictions" / of_run, 3)
            (tmp_path / column.folder / "predictions" / of_run / "case0.npz").touch()  # probabilities
            evaluated = tmp_path / column.folder / "evaluations" / of_run
            evaluated.mkdir(parents=True)
            lines = [f"{case},{dice}" for case, dice in cases.items()]
            (evaluated / "metrics.csv").write_text("\n".join(["case,dice", *lines]))
    assert [(run.row.name, run.seed) for run in worst.runs_there(found, column, tmp_path)] == [
        ("nnunet", 1),
        ("slicemamba", 1),
    ]
    part = read(datasets="PH2", trainers="da_mambanet", seeds=[0, 1])  # a part of the matrix keeps the others' lines
    assert [run.row.name for run in worst.runs_there(part, column, tmp_path)] == ["nnunet", "slicemamba"]
    assert worst.worst_cases([cases, cases | {"case0": 0.0}])[:2] == ["case0", "case7"]
    file = table.picture_of(tmp_path / "results.md", column)
    assert worst.draw(found, column, tmp_path, file)
    with Image.open(file) as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(2**20)}
    assert {(166, 203, 232), (194, 65, 12)} <= colours  # truth and prediction
    page = table.render(found, [], {"PH2"})
    assert "results_PH2.png" not in page  # nothing to explain without a run
    assert "![Outlines of the worst test cases](results_PH2.png)" in table.render(
        found, [made_up(found.runs[0], [0.5])], {"PH2"}
    )


def test_the_committed_page_is_that_of_the_committed_runs():
    results, page = (ACCURACY / CONFIG[key] for key in ("results", "page"))
    pictures = {name for name, column in TABLE.items() if table.picture_of(page, column).exists()}
    assert page.read_text(encoding="utf-8") == table.render(read(), gather.read(results), pictures), (
        "docs/results.md is not what its runs, config.yaml and results.md.j2 give: python benchmarks/accuracy/table.py"
    )


@pytest.fixture
def evaluated(tmp_path):
    """A run of one case and the folder of its workflow, with all files that gather.py reads."""
    run = read(datasets="PH2", trainers="nnunet", seeds=0).runs[0]
    column = matrix.home(tmp_path, run.column)
    fold = Path(run.column.dataset_folder, run.model, f"fold_{run.fold}")
    trained, evaluation = column / "nnUNet_results" / fold, column / "evaluations" / fold
    preprocessed = column / "nnUNet_preprocessed" / run.column.dataset_folder
    for folder in (trained, evaluation):
        folder.mkdir(parents=True)
    second = accuracy_runs.PART | {
        "commit": "b",
        "started": "2",
        "first_epoch": 10,
        "steps": 100,
        "seconds_per_step": 1,
        "peak_bytes": 200,
    }
    record = accuracy_runs.record_of(run, accuracy_runs.PART, second)
    (trained / gather.RECORD).write_text(json.dumps(record))
    accuracy_runs.leave_plans(run, trained, preprocessed)
    (evaluation / "summary.json").write_text(json.dumps({"about": {"unit": "px"}}))
    with open(evaluation / "metrics.csv", "w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["case", "class", "dice", "iou", "hd95", "soft_dice"])
        writer.writerows([["x", "lesion", 0.5, 0.25, "", 0.4], ["x", "other", 0.7, 0.75, 3, 0.2]])
    return run, trained


def test_gathered_runs_add_to_those_of_other_machines(evaluated, tmp_path):
    run, _ = evaluated
    asked = read(datasets="PH2", trainers="nnunet", seeds=0)
    results = tmp_path / "results.json"
    others = [made_up(each, [0.5]) for each in read(datasets="PH2", trainers="slicemamba", seeds=[0, 1]).runs]
    gather.write(results, [*others, made_up(run, [0.1])])  # the run itself as it was before
    for varied in asked.varied:
        leave_evaluation(tmp_path, run.column, varied.folder, [0.5])
    gather.gather(asked, tmp_path, results)
    found = {gather.key_of(each): each for each in gather.read(results)}
    assert list(found) == [run.key, *(varied.key for varied in asked.varied), *map(gather.key_of, others)]
    found = list(found.values())
    assert found[0]["cases"] == {"x": {"dice": 0.6, "iou": 0.5, "hd95": 3.0, "soft_dice": 0.3}}
    assert [found[0][key] for key in ("commit", "seconds_per_step", "peak_bytes")] == ["a, b", 0.25, 200]
    assert found[3:] == json.loads(json.dumps(others))
    assert len(results.read_text().splitlines()) == 2 + len(found)


def test_no_run_is_gathered_that_saw_something_else(evaluated, tmp_path):
    _, trained = evaluated
    asked, results = read(datasets="PH2", trainers="nnunet", seeds=0), tmp_path / "results.json"
    record = json.loads((trained / gather.RECORD).read_text())
    (trained / gather.RECORD).write_text(json.dumps(record | {"images_seen": 4400}))
    with pytest.raises(ValueError, match=r"this training has images_seen 4400 \(wanted 4800\)"):
        gather.gather(asked, tmp_path, results)
    (trained / gather.RECORD).write_text(json.dumps(record))
    (trained.parent / "plans.json").write_text(json.dumps({"configurations": {"2d": {"batch_size": 4}}}))
    with pytest.raises(ValueError, match="used other plans"):
        gather.gather(asked, tmp_path, results)
    assert not results.exists()
