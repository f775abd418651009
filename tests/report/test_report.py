"""From folders to index.html, metrics.csv and summary.json: what is in them, and what bad input does."""

import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from helpers.predictions import NAMES, disc, save, write_folders, write_trained
from nnunet_mamba.cli.main import main
from nnunet_mamba.report import run as report_run
from nnunet_mamba.report.page import LARGEST

pytest.importorskip("monai")


def report(folders, output, *options):
    """Exit status of `nnunet_mamba report` on folders."""
    tools = [folder for name, folder in folders.items() if name not in ("gt", "images")]
    where = ["--gt", folders["gt"], "--images", folders["images"], "-o", output]
    return main([str(each) for each in ("report", "--pred", *tools, *where, "-np", 1, *options)])


def rows(output):
    with open(output / "metrics.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def summary(output):
    return json.loads((output / "summary.json").read_text())


class Page(HTMLParser):
    """The page's text, its script and style elements, and its policy."""

    def __init__(self, file):
        super().__init__()
        self.text, self.inside, self.elements, self.policy = "", [], [], ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]
        if tag in ("script", "style"):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self.inside.pop()

    def handle_data(self, data):
        if not self.inside:
            self.text += data


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    folders = write_folders(root / "data")
    assert report(folders, root / "out") == 0
    return folders, root / "out"


def test_a_row_per_case_class_trainer(made):
    _, output = made
    found = rows(output)
    assert [(row["case"], row["trainer"]) for row in found] == [
        (n, t) for n in sorted(NAMES) for t in ("first", "second")
    ]
    row = next(row for row in found if row["case"] == "plain" and row["trainer"] == "second")
    truth, shifted = disc((48, 64), (24, 30), 12), disc((48, 64), (24, 31), 12)
    assert float(row["dice"]) == pytest.approx(2 * (truth & shifted).sum() / (truth.sum() + shifted.sum()))
    assert float(row["hd95"]) == 1.0 and row["truth_empty"] == "0"


def test_the_summary_is_that_of_the_rows(made):
    _, output = made
    dices = {
        tool: [float(row["dice"]) for row in rows(output) if row["trainer"] == tool] for tool in ("first", "second")
    }
    of_class = summary(output)["results"]["label 1"]
    for tool, values in dices.items():
        of_tool = of_class[tool]["metrics"]["dice"]
        assert of_tool["mean"] == pytest.approx(np.mean(values)) and of_tool["sd"] == pytest.approx(
            np.std(values, ddof=1)
        )
    against = of_class["second"]["metrics"]["dice"]["against_first"]
    assert against["pairs"] == 6 and against["effect"] == -1  # one pixel further off in every case
    assert against["p"] == pytest.approx(2 / 2**6) and against["corrected"] == pytest.approx(min(1, 7 * 2 / 2**6))
    assert summary(output)["about"]["unit"] == "px"


def test_the_page_shows_the_numbers(made):
    _, output = made
    page = Page(output / "index.html")
    of_class = summary(output)["results"]["label 1"]
    for tool in ("first", "second"):
        for key, digits in (("dice", 3), ("iou", 3), ("hd95", 2), ("assd", 2), ("nsd", 3)):
            cell = of_class[tool]["metrics"][key]
            assert f"{cell['mean']:.{digits}f} ± {cell['sd']:.{digits}f}" in page.text
            assert f"[{cell['low']:.{digits}f}, {cell['high']:.{digits}f}]" in page.text
    for words in ("HD95 (px)", "NSD at 2 px", "Wilcoxon", "Holm", "MONAI 1", "How this was made"):
        assert words in page.text


def test_nothing_can_be_fetched_and_no_name_is_html(made):
    _, output = made
    page = Page(output / "index.html")
    assert page.policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in page.policy
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object")
        for name, value in attributes.items():
            assert not name.startswith("on") and name != "style"
            assert name not in ("src", "href") or value.startswith("#")
    assert [tag for tag, _ in page.elements].count("script") == 2
    assert "<script>alert" not in (output / "index.html").read_text(encoding="utf-8")


def test_empty_masks_are_counted(tmp_path):
    """Of five cases two have no truth, one no prediction, one neither: means are over four, the page counts them."""
    folders = write_folders(tmp_path / "data", ("tool",), ("both", "none", "no truth", "no truth 2", "no prediction"))
    for folder, cases in (("gt", ("none", "no truth", "no truth 2")), ("tool", ("none", "no prediction"))):
        for case in cases:
            save(folders[folder] / f"{case}.png", np.zeros((48, 64)))
    assert report(folders, tmp_path / "out") == 0
    of_tool = summary(tmp_path / "out")["results"]["label 1"]["tool"]
    assert of_tool["empty"] == {"both": 1, "only_prediction": 1, "only_truth": 2}
    assert of_tool["metrics"]["dice"]["cases"] == 4
    assert of_tool["metrics"]["dice"]["mean"] == pytest.approx(1 / 4)
    assert of_tool["metrics"]["hd95"]["mean"] == pytest.approx(3 * np.hypot(48, 64) / 4)
    words = (
        "1 with truth and prediction empty (left out), 1 with only the prediction empty, 2 with only the truth empty"
    )
    assert words in Page(tmp_path / "out/index.html").text


def test_what_was_kept_is_removed(made):
    _, output = made
    assert sorted(path.name for path in output.iterdir()) == ["index.html", "metrics.csv", "summary.json"]


def test_bad_predictions_are_listed_and_the_rest_is_measured(tmp_path, capsys):
    names = ("good", "missing", "small", "broken", "values", "colour")
    folders = write_folders(tmp_path / "data", ("tool",), names)
    (folders["tool"] / "missing.png").rename(folders["tool"] / "misnamed.png")
    save(folders["tool"] / "small.png", np.ones((40, 64)))
    broken = (folders["tool"] / "broken.png").read_bytes()
    (folders["tool"] / "broken.png").write_bytes(broken[: len(broken) // 2])
    save(folders["tool"] / "values.png", np.full((48, 64), 255))
    save(folders["tool"] / "colour.png", np.random.default_rng(0).integers(0, 2, (48, 64, 3)))
    assert report(folders, tmp_path / "out") == 1
    printed = capsys.readouterr()
    problems = {problem["case"]: problem["reason"] for problem in summary(tmp_path / "out")["problems"]}
    page = Page(tmp_path / "out/index.html").text
    for case, words in {
        "missing": "no prediction",
        "misnamed": "no truth has this name",
        "small": "has the size 40 x 64, the truth 48 x 64",
        "broken": "cannot be read",
        "values": "holds the values 255, wanted only 0, 1",
        "colour": "a colour image",
    }.items():
        assert words in problems[case] and words in page and words in printed.err
    assert [row["case"] for row in rows(tmp_path / "out")] == ["good"]
    assert "of 6" in page and "No mask is empty" in page


def test_nothing_to_measure_writes_nothing(tmp_path, capsys):
    folders = write_folders(tmp_path / "data", ("tool",), ("a",))
    (folders["tool"] / "a.png").write_text("not a picture")
    assert report(folders, tmp_path / "out") == 1
    assert "no prediction could be measured (a: a.png: cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "out/index.html").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tolerance", "-1"], "--tolerance: got -1"),
        (["-np", "0"], "-np: got 0"),
        (["--names", "one", "one"], "--names: got one one, wanted 2 different ones"),
        (["--labels", "lesion"], "--labels: got 'lesion', wanted NAME=VALUE"),
        (["-d", "5"], "wanted either -d ID"),
        (["--picture-size", "3"], "--picture-size: got 3"),
        (["--spacing", "0", "1"], "--spacing: got 0 1"),
    ],
)
def test_wrong_options(tmp_path, capsys, options, message):
    folders = write_folders(tmp_path / "data", names=("a", "b"))
    assert report(folders, tmp_path / "out", *options) == 1
    assert message in capsys.readouterr().err and not (tmp_path / "out/index.html").exists()


def test_spacing_gives_millimetres(tmp_path):
    folders = write_folders(tmp_path / "data", ("tool",), ("a", "b"))  # b is moved by one column
    assert report(folders, tmp_path / "out", "--spacing", 1, 0.25) == 0
    assert float(rows(tmp_path / "out")[1]["hd95"]) == 0.25
    assert "HD95 (mm)" in Page(tmp_path / "out/index.html").text


def test_values_of_masks_and_names_of_classes(tmp_path):
    folders = write_folders(tmp_path / "data", ("tool",), ("a", "b"), foreground=255)
    assert report(folders, tmp_path / "out", "--labels", "lesion=255") == 0
    assert {row["class"] for row in rows(tmp_path / "out")} == {"lesion"}


def test_a_stopped_report_goes_on(tmp_path, monkeypatch):
    folders = write_folders(tmp_path / "data", ("tool",))
    measured, first = [], report_run.measure

    def stops(job):
        if len(measured) == 4:
            raise KeyboardInterrupt
        measured.append(job.case.id)
        return first(job)

    monkeypatch.setattr(report_run, "measure", stops)
    assert report(folders, tmp_path / "out") == 130
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / report_run.UNFINISHED).iterdir()}
    assert len(kept) == 4
    save(folders["tool"] / f"{measured[0]}.png", np.zeros((48, 64)))  # it changed in between: measured again
    monkeypatch.setattr(report_run, "measure", first)
    from nnunet_mamba.report import measure as module

    again, whole = [], module._measure
    monkeypatch.setattr(module, "_measure", lambda settings, case: again.append(case.id) or whole(settings, case))
    assert report(folders, tmp_path / "out") == 0
    assert sorted(again) == sorted({measured[0], *(set(NAMES) - set(measured))})
    assert len(rows(tmp_path / "out")) == len(NAMES)


def test_pictures_go_beside_a_page_that_would_be_too_large(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("nnunet_mamba.report.page.LARGEST", 1000)
    folders = write_folders(tmp_path / "data", ("tool",))
    assert LARGEST == 60e6 and report(folders, tmp_path / "out") == 0
    assert len(list((tmp_path / "out/index_files").glob("*.jpg"))) == len(NAMES)
    assert "index_files: keep both together" in capsys.readouterr().out
    assert "index_files" in Page(tmp_path / "out/index.html").text
    monkeypatch.undo()
    assert report(folders, tmp_path / "out") == 0
    assert not (tmp_path / "out/index_files").exists()


@pytest.fixture
def home(tmp_path, monkeypatch):
    for part in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{part}", str(tmp_path / part))
    return tmp_path


def of_trainers(home, *trainers):
    return main(["report", "-d", "7", "-tr", *trainers, "-o", str(home / "out"), "-np", "1"])


def test_cross_validation(home):
    results = write_trained(home, ("ATrainer", "BTrainer"))
    log = results / "ATrainer__nnUNetPlans__2d/fold_0/training_log_2026_1_2_03_04_05.txt"
    log.write_text(
        "2026-01-02 03:04:05.1: Epoch 0 \n2026-01-02 03:04:06.1: train_loss -0.25 \n"
        "2026-01-02 03:04:06.2: val_loss -0.5 \n2026-01-02 03:04:06.3: Pseudo dice [np.float32(0.75), nan] \n"
    )
    assert of_trainers(home, "ATrainer", "BTrainer") == 0
    found = rows(home / "out")
    assert len(found) == 12 and {row["fold"] for row in found} == {"0", "1"}
    assert {row["case"]: row["group"] for row in found}["case3"] == "patient 1"
    folds = summary(home / "out")["results"]["disc"]["BTrainer"]["folds"]
    of_fold = [float(row["dice"]) for row in found if row["trainer"] == "BTrainer" and row["fold"] == "1"]
    assert folds["1"]["dice"]["cases"] == 3 and folds["1"]["dice"]["mean"] == pytest.approx(np.mean(of_fold))
    text = Page(home / "out/index.html").text
    assert "3 groups are split between folds: patient 0, patient 1, patient 2" in text
    assert "1 epochs, highest pseudo Dice 0.750 in epoch 0" in text and "conversion_report.json" in text


def test_agrees_with_nnunets_summary(home, capsys):
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
    from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

    results = write_trained(home, ("ATrainer",))
    validation = results / "ATrainer__nnUNetPlans__2d/fold_1/validation"
    truth, theirs = str(home / "raw/Dataset007_Discs/labelsTr"), validation / "summary.json"
    save(validation / "case1.png", np.zeros((48, 64)))
    compute_metrics_on_folder(truth, str(validation), str(theirs), NaturalImage2DIO(), ".png", [1], None, 1)
    assert of_trainers(home, "ATrainer") == 0
    assert summary(home / "out")["about"]["agrees_with_nnunet"] == 3 * 2
    written = json.loads(theirs.read_text())
    written["metric_per_case"][0]["metrics"]["1"]["Dice"] += 2e-6
    theirs.write_text(json.dumps(written))
    assert of_trainers(home, "ATrainer") == 1
    assert "case1: disc: Dice is 0.000000, nnU-Net's summary.json has 2e-06" in capsys.readouterr().err


def test_what_is_missing_in_a_cross_validation(home, capsys):
    results = write_trained(home, ("ATrainer", "BTrainer"))
    (results / "BTrainer__nnUNetPlans__2d/fold_0/validation/case2.png").unlink()
    assert of_trainers(home, "ATrainer", "BTrainer") == 1
    assert "BTrainer fold 0, case2: no prediction" in capsys.readouterr().err
    of_b = summary(home / "out")["results"]["disc"]["BTrainer"]["metrics"]["dice"]
    assert of_b["cases"] == 5 and of_b["against_first"]["pairs"] == 5
    assert of_trainers(home, "CTrainer") == 1
    message = capsys.readouterr().err
    assert "CTrainer__nnUNetPlans__2d: no fold_*/validation" in message and "there are: ATrainer__" in message


def test_regions_ignored_pixels_and_classes(home):
    labels = {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}
    results = write_trained(home, ("ATrainer",), ("a", "b"), folds=1, labels=labels)
    truth, prediction = np.zeros((2, 48, 64), np.uint8)
    truth[10:20, 10:20], truth[12:14, 12:14], truth[15:20, 10:20] = 1, 2, 3
    prediction[10:20, 10:20], prediction[12:14, 12:16] = 1, 2
    for case in ("a", "b"):
        save(home / f"raw/Dataset007_Discs/labelsTr/{case}.png", truth)
        save(results / f"ATrainer__nnUNetPlans__2d/fold_0/validation/{case}.png", prediction)
    assert of_trainers(home, "ATrainer") == 0
    found = {row["class"]: row for row in rows(home / "out") if row["case"] == "a"}
    assert float(found["whole"]["dice"]) == 1.0 and float(found["whole"]["hd95"]) == 0.0
    assert float(found["core"]["dice"]) == pytest.approx(2 * 4 / (4 + 8))
    of_classes = summary(home / "out")["results"]
    assert of_classes["mean of the classes"]["ATrainer"]["metrics"]["dice"]["mean"] == pytest.approx((1 + 2 / 3) / 2)
    page = Page(home / "out/index.html").text
    assert "Pixels of the ignore label do not count" in page


def test_volumes_show_the_worst_slice_with_square_pixels(tmp_path):
    import SimpleITK

    folders = {name: tmp_path / name for name in ("gt", "images", "tool")}
    truth = np.zeros((5, 20, 30), np.uint8)
    truth[1:4, 5:15, 5:15] = 1
    prediction = truth.copy()
    prediction[2, 5:15, 5:10] = 0
    for name, array in (("gt", truth), ("images", truth * 100.0), ("tool", prediction)):
        folders[name].mkdir()
        volume = SimpleITK.GetImageFromArray(array)
        volume.SetSpacing((1.0, 2.0, 5.0))
        file = "scan_0000.nii.gz" if name == "images" else "scan.nii.gz"
        SimpleITK.WriteImage(volume, str(folders[name] / file))
    assert report(folders, tmp_path / "out") == 0
    page = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])
    (shown,) = data["slices"]
    assert (shown["position"], shown["of"]) == (2, 5) and (shown["height"], shown["width"]) == (40, 30)
    # the 5 columns that are missing: 5 mm from them to the prediction's edge
    assert float(rows(tmp_path / "out")[0]["hd95"]) > 0 and data["metrics"][4]["unit"] == "mm"


def test_the_dice_of_probabilities(tmp_path, capsys):
    folders = write_folders(tmp_path / "data", ("tool",), ("a",))
    truth = disc((48, 64), (24, 30), 12)
    probability = np.where(truth, 0.75, 0.0)[None]
    np.savez(folders["tool"] / "a.npz", probabilities=np.stack([1 - probability, probability]))
    assert report(folders, tmp_path / "out", "--soft-dice") == 0
    row = rows(tmp_path / "out")[0]
    assert float(row["soft_dice"]) == pytest.approx(2 * 0.75 / 1.75) and float(row["dice"]) == 1.0
    (folders["tool"] / "a.npz").unlink()
    assert report(folders, tmp_path / "out", "--soft-dice") == 1
    assert "a.npz: not there, wanted for --soft-dice" in capsys.readouterr().err


def test_without_monai_there_are_no_distances(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report_run, "distances_installed", lambda: False)
    folders = write_folders(tmp_path / "data", ("tool",), ("a", "b"))
    assert report(folders, tmp_path / "out") == 0
    assert 'pip install "nnunet-mamba[report]"' in capsys.readouterr().err
    assert "hd95" not in rows(tmp_path / "out")[0] and "HD95 (px)" not in Page(tmp_path / "out/index.html").text
