"""The job graph of benchmarks/accuracy, by dry runs of Snakemake: nothing is converted or trained."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import pytest
import yaml

from helpers import accuracy_runs

ACCURACY = Path(__file__).parents[2] / "benchmarks" / "accuracy"
CONFIG = yaml.safe_load((ACCURACY / "config.yaml").read_text())
PART = ["datasets=PH2", "trainers=[nnunet,da_mambanet_nnunet_loss]", "folds=[0,2]", "seeds=[3,5]"]
HOME = Path("work", "PH2_size_192_256_test_40_seed_0")
pytestmark = pytest.mark.skipif(find_spec("snakemake") is None, reason="needs snakemake")


def snakemake(folder, *arguments, config=()):
    """The whole text of a run in `folder` that succeeds."""
    own = [f"results={folder}/results.json", f"page={folder}/results.md"]
    command = [sys.executable, "-m", "snakemake", "-s", str(ACCURACY / "Snakefile"), *arguments]
    command += ["--cores", "2", "--config", *own, *config]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-3000:]
    return text


def dry_run(folder, *targets, config=(), options=()):
    """(jobs per rule, shell commands per rule, the whole text) of `snakemake -n` in `folder`."""
    text = snakemake(folder, "-n", *targets, *options, config=config)
    stats = re.search(r"^job +count\n[- ]+\n(.*?)^total", text, re.MULTILINE | re.DOTALL)
    jobs = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", stats[1] if stats else "", re.MULTILINE)}
    commands = {}
    for block in text.split("\n\n"):
        rule, shell = (
            re.search(r"^(?:local)?rule (\w+):", block, re.MULTILINE),
            re.search(r"^Shell command: (.*)", block, re.M),
        )
        if rule and shell:
            commands.setdefault(rule[1], []).append(shell[1])
    return jobs, commands, text


def runs_of(choices):
    """(data set, fold, trainer, plans) of each run in columns of the table, or of those for choices."""
    for column, row, fold, seed in product(
        CONFIG["columns"].values(), CONFIG["rows"].values(), CONFIG["folds"], CONFIG["seeds"]
    ):
        if column.get("choices", False) != choices or row["group"] in (
            ("ablation", "tuned") if choices else ("candidate",)
        ):
            continue
        changes = row.get("changes", [])
        changes = [changes] if isinstance(changes, str) else changes
        ending = "".join(f"_{change.replace('_', '')}" for change in changes)
        trainer = f"{row['trainer']}{ending}_12epochs_50iterations_seed{seed}"
        yield str(column["id"]), str(fold), trainer, f"Accuracy_{row['plans']}_batch{column['batch']}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return dry_run(tmp_path_factory.mktemp("whole"))


def test_the_whole_matrix(whole):
    jobs, _, _ = whole
    columns, repeated = len(CONFIG["columns"]), len(CONFIG["folds"]) * len(CONFIG["seeds"])
    tested, chosen_between = (len(list(runs_of(choices))) for choices in (False, True))
    in_table = sum(not column.get("choices") for column in CONFIG["columns"].values())
    planners = {plans["planner"] for plans in CONFIG["plans"].values()}
    assert jobs == {
        **dict.fromkeys(("convert", "fingerprint", "preprocess"), columns),
        "plan": columns * len(planners),
        "plans": columns * len(CONFIG["plans"]),
        "train": tested + chosen_between,
        **dict.fromkeys(("predict", "evaluate", "predict_again", "postprocess"), tested),
        "evaluate_variant": 2 * tested,
        "report": in_table * repeated,
        **dict.fromkeys(("ensemble", "evaluate_ensemble"), len(CONFIG["ensembles"]) * in_table * repeated),
        "compare_validation": (columns - in_table) * len(CONFIG["seeds"]),
        **dict.fromkeys(("gather", "worst", "table", "all"), 1),
    }


def test_each_training_has_its_data_set_fold_seed_and_plans(whole):
    _, commands, _ = whole
    trained = Counter(
        re.search(r"nnUNetv2_train (\d+) 2d (\w+) -tr (\w+) -p (\w+) -device cpu --c", command).groups()
        for command in commands["train"]
    )
    tested, chosen_between = (Counter(runs_of(choices)) for choices in (False, True))
    assert trained == tested + chosen_between and set(trained.values()) == {1}
    predicted = Counter(
        re.search(r"imagesTs -o \S+ -d (\d+) -c 2d -f (\w+) -tr (\w+) -p (\w+) ", command).groups()
        for command in commands["predict"]
    )
    assert predicted == tested
    assert all("labelsTs" in command and "--soft-dice" in command for command in commands["evaluate"])


def test_the_test_cases_are_held_out_of_every_data_set(whole):
    _, commands, _ = whole
    assert len(commands["convert"]) == len(CONFIG["columns"])
    for command in commands["convert"]:
        assert re.search(r"nnunet_mamba convert \w+ -i \S.* -d 5[01]\d .*--test [1-9]\d* --seed 0", command)


def test_a_part_is_compared_with_the_first_row(tmp_path):
    jobs, commands, _ = dry_run(tmp_path, config=PART)
    assert [jobs[name] for name in ("convert", "plans", "train", "evaluate", "report")] == [1, 1, 8, 8, 4]
    assert all("--names nnunet da_mambanet_nnunet_loss " in command for command in commands["report"])
    assert {re.search(r"fold_(\d)_seed(\d)", command).groups() for command in commands["report"]} == {
        *product("02", "35")
    }


def test_rows_predict_together(tmp_path):
    asked = ["datasets=PH2", "seeds=[3,5]", "trainers=[nnunet,da_mambanet,dermomamba]"]
    jobs, commands, _ = dry_run(tmp_path, config=asked)
    assert (
        jobs["ensemble"] == jobs["evaluate_ensemble"] == 2
    )  # of two rows; of the others not all members are asked for
    for command, seed in zip(sorted(commands["ensemble"]), "35", strict=True):
        folders, made = re.search(r"nnUNetv2_ensemble -i (\S+ \S+) -o (\S+)", command).groups()
        names = [Path(folder).parts[-2].partition("_")[0] for folder in folders.split()]
        assert names == ["nnUNetTrainer", "DAMambaTrainer"] and folders.count(f"_seed{seed}__") == 2
        assert made.endswith(f"predictions/Dataset501_PH2/Ensemble_nnunet_and_da_mambanet/fold_0_seed{seed}")


def test_weights_predict_otherwise(tmp_path):
    jobs, commands, _ = dry_run(tmp_path, config=["datasets=PH2", "seeds=3", "trainers=dermomamba"])
    assert [jobs[name] for name in ("predict_again", "postprocess", "evaluate_variant")] == [1, 1, 2]
    model = "DermoMambaTrainer_12epochs_50iterations_seed3__Accuracy_unet_batch8__2d"
    assert re.search(rf"predict -i .*/{model}/fold_0__no_flips .* --disable_tta &>", commands["predict_again"][0])
    validation = rf"\S*nnUNet_results/Dataset501_PH2/{model}/fold_0/validation"
    found = re.search(
        rf"determine_postprocessing -i {validation} -ref \S*/nnUNet_preprocessed/Dataset501_PH2/gt_segmentations .*"
        rf"apply_postprocessing -i \S*/predictions/Dataset501_PH2/{model}/fold_0 -o \S*/{model}/fold_0__processed"
        rf" -pp_pkl_file {validation}/postprocessing.pkl",
        commands["postprocess"][0],
    )
    assert found
    soft = {re.search(r"fold_0__(\w+) ", each)[1]: "--soft-dice" in each for each in commands["evaluate_variant"]}
    assert soft == {"no_flips": True, "processed": False}  # processed predictions have no probabilities


def test_choices_need_no_prediction_of_a_test_case(tmp_path):
    jobs, commands, _ = dry_run(tmp_path, "validation", config=PART)
    assert jobs["train"] == 8 and jobs["compare_validation"] == 2
    assert not {"predict", "predict_again", "ensemble", "evaluate", "report", "gather", "table"} & set(jobs)
    for command, seed in zip(sorted(commands["compare_validation"]), "35", strict=True):
        models = re.search(r"report -d 501 -tr (\S+) (\S+) -np", command).groups()
        assert [model.partition("_")[0] for model in models] == ["nnUNetTrainer", "DAMambaTrainer"]
        assert all(f"_seed{seed}__Accuracy_unet_batch8__2d" in model for model in models)


def test_what_is_there_is_not_made_again(tmp_path):
    """Everything of one run is there but its prediction, and plans and data are newer than its training."""
    data = HOME / "nnUNet_preprocessed" / "Dataset501_PH2"
    model = "nnUNetTrainer_12epochs_50iterations_seed0__Accuracy_unet_batch8__2d"
    files = [
        HOME / "nnUNet_results" / "Dataset501_PH2" / model / "fold_0" / "validation" / "summary.json",
        HOME / "nnUNet_raw" / "Dataset501_PH2" / "dataset.json",
        *(data / f"{name}.json" for name in ("dataset_fingerprint", "nnUNetPlans", "Accuracy_unet_batch8")),
        data / "preprocessed",
    ]
    for age, file in enumerate(files):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
        os.utime(tmp_path / file, (1e9 + age, 1e9 + age))
    jobs, commands, _ = dry_run(tmp_path, config=["datasets=PH2", "trainers=[nnunet,da_mambanet]", "seeds=0"])
    assert [jobs.get(name, 0) for name in ("convert", "plan", "plans", "preprocess", "train")] == [0, 0, 0, 0, 1]
    assert "-tr DAMambaTrainer_" in commands["train"][0] and jobs["predict"] == jobs["evaluate"] == 2


def test_runs_are_gathered_even_if_the_results_are_newer(tmp_path):
    """As after `git pull`, or when another part of the matrix was gathered in between."""
    for file in ("results.json", "results.md", "results_PH2.png"):
        (tmp_path / file).touch()
    jobs, _, _ = dry_run(tmp_path, config=PART)
    assert jobs["gather"] == jobs["worst"] == jobs["table"] == 1


def test_the_page_is_made_each_time(tmp_path, monkeypatch):
    """No mark of the last time is left that says it is there."""
    monkeypatch.syspath_prepend(ACCURACY)
    from matrix import home, read

    run = read(CONFIG | {"datasets": "PH2Half", "trainers": "da_mambanet", "seeds": 0}).runs[0]
    column = home(tmp_path / "work", run.column)
    trained = column / "nnUNet_results" / run.column.dataset_folder / run.model / "fold_0"
    (trained / "validation").mkdir(parents=True)
    (trained / "accuracy_run.json").write_text(json.dumps(accuracy_runs.record_of(run, accuracy_runs.PART)))
    accuracy_runs.leave_plans(run, trained, column / "nnUNet_preprocessed" / run.column.dataset_folder)
    case = {"prediction_file": "IMD002.png", "metrics": {"1": {"Dice": 0.9123, "IoU": 0.8345}}}
    (trained / "validation" / "summary.json").write_text(json.dumps({"metric_per_case": [case]}))
    compared = column / "validation" / "seed0" / "index.html"
    compared.parent.mkdir(parents=True)
    compared.touch()
    for _ in range(2):
        text = snakemake(tmp_path, config=["datasets=PH2Half", "trainers=da_mambanet", "seeds=0"])
        assert re.findall(r"^localrule (gather|table)", text, re.MULTILINE) == ["gather", "table"]
        assert "91.23" in (tmp_path / "results.md").read_text()
        assert [each.name for each in (tmp_path / "work").iterdir()] == [column.name]


@pytest.mark.skipif(find_spec("snakemake_executor_plugin_slurm") is None, reason="needs its plugin for SLURM")
def test_the_profile_for_slurm(tmp_path):
    profile = ["--workflow-profile", str(ACCURACY / "profiles" / "slurm")]
    jobs, commands, text = dry_run(tmp_path, config=["datasets=PH2", "device=cuda", "seeds=0"], options=profile)
    rows = [row for row in CONFIG["rows"].values() if row["group"] != "candidate"]
    assert jobs["train"] == len(rows) and all("-device cuda" in command for command in commands["train"])
    blocks = [block for block in text.split("\n\n") if re.search(r"^rule train:", block, re.MULTILINE)]
    asked = [re.search(r"resources: .*", block)[0] for block in blocks]
    assert len(asked) == jobs["train"]
    own = [row.get("mem_mb", CONFIG["resources"]["train"]["mem_mb"]) for row in rows]
    assert sorted(int(re.search(r"mem_mb=(\d+)", each)[1]) for each in asked) == sorted(own)
    assert all(re.search(r"\bgpu=1\b", each) and "runtime=1440" in each for each in asked)
