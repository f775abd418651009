"""What config.yaml asks for: columns (data sets), rows (trainers), and the runs of each row in each column.

A run is one training: a row and a column, with a fold and a seed. Standard library only.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEFAULT_PLANNER, DEFAULT_PLANS = "ExperimentPlanner", "nnUNetPlans"
NAME = re.compile(r"[A-Za-z0-9_]+")  # of rows and columns: parts of file names
GROUPS = "baseline", "ours", "tuned", "ablation", "candidate"
IN_TABLE, CHOSEN_BETWEEN = ("baseline", "ours", "tuned", "ablation"), ("baseline", "ours", "candidate")
CHANGES = "nnunet_loss", "cross_entropy", "rate", "tenfold", "poly", "average"


@dataclass(frozen=True)
class Column:
    """A data set as all rows see it: the same cases, patch and batch, and the same number of images seen.

    Attributes:
        dataset: name for `nnunet_mamba convert`.
        id: nnU-Net's number of the data set.
        source: folder or zip below the config's `data`.
        convert: further options of `nnunet_mamba convert`.
        patch: (H, W) that nnU-Net must plan for these images.
        batch: images per training step.
        images_seen: images in all training steps of a run, the budget.
        iterations: training steps per epoch.
        choices: for choices between recipes, on validation cases alone. Baselines, the rows called ours and
            candidates run here, and candidates nowhere else.
        note: what the numbers are good for, in words for the page.
        worst: what the worst test cases have in common, in words for the page.
    """

    name: str
    title: str
    dataset: str
    id: int
    source: str
    convert: str
    patch: tuple[int, int]
    batch: int
    images_seen: int
    iterations: int
    choices: bool = False
    note: str = ""
    worst: str = ""

    @property
    def epochs(self) -> int:
        return self.images_seen // (self.batch * self.iterations)

    @property
    def groups(self) -> tuple[str, ...]:
        """Of the rows that run here."""
        return CHOSEN_BETWEEN if self.choices else IN_TABLE

    @property
    def folder(self) -> str:
        """Another one for other cases, so that nothing old is taken for new."""
        return "_".join([self.name, *re.findall(r"\w+", self.convert)])

    @property
    def dataset_folder(self) -> str:
        return f"Dataset{self.id:03d}_{self.dataset}"

    @property
    def settings(self) -> dict[str, Any]:
        """What the numbers of a run depend on: only runs with the same settings are compared."""
        return {
            "convert": f"{self.dataset} {self.convert}",
            "patch": list(self.patch),
            "batch": self.batch,
            "images_seen": self.images_seen,
            "iterations": self.iterations,
        }


@dataclass(frozen=True)
class Row:
    """A trainer with its plans.

    Attributes:
        trainer: nnU-Net's own or one of ours.
        changes: what differs from the trainer's recipe, see trainers/accuracy_trainers.py: nnU-Net's loss, ASFM's cross
            entropy with one class, three or ten times the rate, nnU-Net's schedule, averaged weights, or nothing.
        plans: a name in the config's `plans`.
        group: which rows to run first; a candidate is a recipe that may become a trainer if it wins on validation.
        what: network and loss, for the table.
        mem_mb: memory of a training, where it is not that of the config's `resources`.
    """

    name: str
    trainer: str
    what: str
    group: str
    plans: str
    changes: tuple[str, ...] = ()
    mem_mb: int = 0


@dataclass(frozen=True)
class Run:
    """One training and what is made of it."""

    column: Column
    row: Row
    fold: str
    seed: int

    @property
    def trainer(self) -> str:
        """As trainers/accuracy_trainers.py makes it."""
        length = f"{self.column.epochs}epochs_{self.column.iterations}iterations"
        changes = "".join(f"_{change.replace('_', '')}" for change in self.row.changes)
        return f"{self.row.trainer}{changes}_{length}_seed{self.seed}"

    @property
    def plans(self) -> str:
        return plans_name(self.row.plans, self.column.batch)

    @property
    def model(self) -> str:
        """nnU-Net's folder of the trained model, below nnUNet_results/DATASET."""
        return f"{self.trainer}__{self.plans}__2d"

    @property
    def predictions(self) -> str:
        """Folder of the test cases' predictions, below the column's."""
        return f"predictions/{self.column.dataset_folder}/{self.model}/fold_{self.fold}"

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.column.name, self.row.name, self.fold, self.seed


@dataclass(frozen=True)
class Ensemble:
    """Rows that predict together.

    Attributes:
        of: their names.
        what: for the table.
    """

    name: str
    of: tuple[str, ...]
    what: str


@dataclass(frozen=True)
class Together:
    """The runs of an ensemble's rows that differ in nothing else."""

    ensemble: Ensemble
    runs: tuple[Run, ...]

    @property
    def column(self) -> Column:
        return self.runs[0].column

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.column.name, self.ensemble.name, self.runs[0].fold, self.runs[0].seed

    @property
    def folder(self) -> str:
        """Below a column's `predictions` and `evaluations`; beside those of the runs."""
        return f"Ensemble_{self.ensemble.name}/fold_{self.runs[0].fold}_seed{self.runs[0].seed}"

    @property
    def command(self) -> str:
        """What makes its predictions, in the column's folder."""
        folders = " ".join(run.predictions for run in self.runs)
        return f"nnUNetv2_ensemble -i {folders} -o predictions/{self.column.dataset_folder}/{self.folder}"


@dataclass(frozen=True)
class Variant:
    """Other predictions of the test cases by the same weights.

    Attributes:
        what: for the table.
        predict: options of `nnUNetv2_predict`.
        postprocess: whether the usual predictions are processed as nnU-Net decides on the validation cases.
    """

    name: str
    what: str
    predict: str = ""
    postprocess: bool = False


@dataclass(frozen=True)
class Varied:
    """A variant of a run's predictions."""

    run: Run
    variant: Variant

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.run.column.name, varied_name(self.run.row.name, self.variant.name), self.run.fold, self.run.seed

    @property
    def folder(self) -> str:
        """Below a column's `predictions` and `evaluations`; beside that of the run."""
        return f"{self.run.model}/fold_{self.run.fold}__{self.variant.name}"

    @property
    def command(self) -> str:
        """What makes its predictions, in the column's folder."""
        run, dataset = self.run, self.run.column.dataset_folder
        made = f"predictions/{dataset}/{self.folder}"
        if self.variant.postprocess:
            validation = f"nnUNet_results/{dataset}/{run.model}/fold_{run.fold}/validation"
            return (
                f"nnUNetv2_determine_postprocessing -i {validation} -ref nnUNet_preprocessed/{dataset}/gt_segmentations"
                f" && nnUNetv2_apply_postprocessing -i {run.predictions} -o {made}"
                f" -pp_pkl_file {validation}/postprocessing.pkl"
            )
        return (
            f"nnUNetv2_predict -i nnUNet_raw/{dataset}/imagesTs -o {made} -d {run.column.id} -c 2d -f {run.fold}"
            f" -tr {run.trainer} -p {run.plans} {self.variant.predict}"
        )


def varied_name(row: str, variant: str) -> str:
    """In the place of a row's name in the results; no row has a name like it."""
    return f"{row}__{variant}"


@dataclass(frozen=True)
class Paper:
    """What a paper reports of a network, to stand beside what is measured here.

    Attributes:
        what: the paper, for the table.
        numbers: (Dice, IoU) in percent for each column that it has.
    """

    what: str
    numbers: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Matrix:
    """All columns, rows, ensembles and variants there are, and the runs that are asked for.

    Attributes:
        papers: by the row that has the network as its paper says.
        first: the row that others are compared with.
        probabilities: whether predictions keep them, which ensembles need.
    """

    columns: Mapping[str, Column]
    rows: Mapping[str, Row]
    ensembles: Mapping[str, Ensemble]
    variants: Mapping[str, Variant]
    papers: Mapping[str, Paper]
    plans: Mapping[str, Mapping[str, Any]]
    first: str
    probabilities: bool
    runs: Sequence[Run] = field(default=())

    @property
    def together(self) -> list[Together]:
        """The ensembles of which all runs are asked for; none without probabilities."""
        runs = {run.key: run for run in self.runs if not run.column.choices and self.probabilities}
        found = []
        for ensemble in self.ensembles.values():
            for column, row, fold, seed in runs:
                if row == ensemble.of[0]:
                    members = [runs.get((column, each, fold, seed)) for each in ensemble.of]
                    if None not in members:
                        found.append(Together(ensemble, tuple(members)))
        return found

    @property
    def varied(self) -> list[Varied]:
        """The variants of all runs that predict test cases; without validation cases nothing decides how to process."""
        return [
            Varied(run, variant)
            for run in self.runs
            for variant in self.variants.values()
            if not run.column.choices and not (variant.postprocess and run.fold == "all")
        ]

    def unchanged(self, row: Row) -> Row | None:
        """The row whose recipe `row` changes, if there is one."""
        if not row.changes:
            return None
        same = [each for each in self.rows.values() if (each.trainer, each.plans) == (row.trainer, row.plans)]
        return next((each for each in same if not each.changes), None)

    def find(self, column: str, trainer: str, plans: str, fold: str) -> Run:
        """The run that trains `trainer` with `plans`, of those asked for.

        Raises:
            KeyError: there is none.
        """
        for run in self.runs:
            if (run.column.folder, run.trainer, run.plans, run.fold) == (column, trainer, plans, fold):
                return run
        raise KeyError(f"no run of {trainer} with {plans} in fold {fold} of {column} in config.yaml")


def plans_name(name: str, batch: int) -> str:
    return f"Accuracy_{name}_batch{batch}"


def planned_name(planner: str) -> str:
    """The plans that nnU-Net's `planner` makes. Only the default ones give their name to the preprocessed data."""
    return DEFAULT_PLANS if planner == DEFAULT_PLANNER else f"Planned_{planner}"


def read(config: Mapping[str, Any]) -> Matrix:
    """The config as a matrix.

    Raises:
        ValueError: something is missing, unknown or does not fit; says what was got and what was wanted.
    """
    columns = {name: _column(name, settings) for name, settings in config["columns"].items()}
    _all_different("id", {name: column.id for name, column in columns.items()})
    plans = config["plans"]
    rows = {name: _row(name, settings, plans) for name, settings in config["rows"].items()}
    _all_different("trainer, changes and plans", {name: (r.trainer, r.changes, r.plans) for name, r in rows.items()})
    ensembles = {name: _ensemble(name, settings, rows) for name, settings in config["ensembles"].items()}
    variants = {name: _variant(name, settings) for name, settings in config["variants"].items()}
    papers = {row: _paper(row, settings, rows, columns) for row, settings in config["papers"].items()}
    first = config["first"]
    if first not in rows:
        raise ValueError(f"first: got {first!r}, wanted a row: {', '.join(rows)}")
    asked = {
        "datasets": _chosen("datasets", config["datasets"], columns),
        "trainers": _chosen("trainers", _without_groups(config["trainers"], rows), rows),
        "folds": [_fold(fold) for fold in _list("folds", config["folds"])],
        "seeds": [_positive("seeds", seed, 0) for seed in _list("seeds", config["seeds"])],
    }
    runs = tuple(
        Run(columns[column], rows[row], fold, seed)
        for column in asked["datasets"]
        for row in asked["trainers"]
        for fold in asked["folds"]
        for seed in asked["seeds"]
        if rows[row].group in columns[column].groups and not (columns[column].choices and fold == "all")
    )
    if not runs:
        raise ValueError(
            f"got {', '.join(asked['trainers'])} in {', '.join(asked['datasets'])}, wanted rows that run there: "
            "candidates run in columns with `choices` only, ablations in the others only"
        )
    return Matrix(columns, rows, ensembles, variants, papers, plans, first, bool(config["soft_dice"]), runs)


def _column(name: str, settings: Mapping[str, Any]) -> Column:
    _check_name("columns", name)
    where = f"columns: {name}"
    _check_keys(where, settings, Column)
    patch = settings["patch"]
    if not isinstance(patch, list | tuple) or len(patch) != 2:
        raise ValueError(f"{where}: patch: got {patch!r}, wanted [height, width] in pixels")
    numbers = {key: _positive(f"{where}: {key}", settings[key]) for key in ("id", "batch", "images_seen", "iterations")}
    column = Column(
        **(
            dict(settings)
            | numbers
            | {"name": name, "patch": tuple(_positive(f"{where}: patch", length) for length in patch)}
        )
    )
    of_epoch = column.batch * column.iterations
    if column.images_seen % of_epoch:
        raise ValueError(
            f"{where}: images_seen: got {column.images_seen}, wanted a multiple of {of_epoch}: an epoch is "
            f"{column.iterations} iterations of {column.batch} images. Change images_seen, iterations or batch"
        )
    return column


def _row(name: str, settings: Mapping[str, Any], plans: Mapping[str, Any]) -> Row:
    _check_name("rows", name)
    where = f"rows: {name}"
    _check_keys(where, settings, Row)
    changes = tuple(_list("changes", settings["changes"])) if "changes" in settings else ()
    row = Row(**settings | {"name": name, "changes": changes})
    chosen = [
        ("group", row.group, GROUPS),
        ("plans", row.plans, plans),
        *(("changes", each, CHANGES) for each in changes),
    ]
    for key, got, known in chosen:
        if got not in known:
            raise ValueError(f"{where}: {key}: got {got!r}, wanted one of {', '.join(known)}")
    return row


def _ensemble(name: str, settings: Mapping[str, Any], rows: Mapping[str, Row]) -> Ensemble:
    _check_name("ensembles", name)
    where = f"ensembles: {name}"
    _check_keys(where, settings, Ensemble)
    if name in rows:
        raise ValueError(f"{where}: got the name of a row, wanted another one")
    of = tuple(_chosen(f"{where}: of", settings["of"], {row: rows[row] for row in rows if rows[row].group in IN_TABLE}))
    if len(set(of)) < 2:
        raise ValueError(f"{where}: of: got {', '.join(of)}, wanted two rows or more")
    return Ensemble(name, of, settings["what"])


def _variant(name: str, settings: Mapping[str, Any]) -> Variant:
    _check_name("variants", name)
    where = f"variants: {name}"
    _check_keys(where, settings, Variant)
    variant = Variant(**dict(settings) | {"name": name})
    if bool(variant.predict) == variant.postprocess:
        both = "both" if variant.postprocess else "neither"
        raise ValueError(f"{where}: got {both} of predict and postprocess, wanted one of them")
    return variant


def _paper(row: str, settings: Mapping[str, Any], rows: Mapping[str, Row], columns: Mapping[str, Column]) -> Paper:
    where = f"papers: {row}"
    _check_keys(where, settings, Paper)
    _chosen("papers", [row], rows)
    for column, numbers in settings["numbers"].items():
        _chosen(where, [column], columns)
        if len(numbers) != 2 or not all(0 < value <= 100 for value in numbers):
            raise ValueError(f"{where}: {column}: got {numbers!r}, wanted [Dice, IoU] in percent")
    return Paper(settings["what"], {column: tuple(numbers) for column, numbers in settings["numbers"].items()})


def _check_keys(where: str, settings: Mapping[str, Any], kind: type) -> None:
    fields = kind.__dataclass_fields__
    needed = [key for key, each in fields.items() if key != "name" and not _has_default(each)]
    missing, unknown = set(needed) - set(settings), set(settings) - (set(fields) - {"name"})
    if missing or unknown:
        got = ", ".join(sorted(unknown)) or f"no {', '.join(sorted(missing))}"
        raise ValueError(f"{where}: got {got}; wanted {', '.join(needed)}")


def _has_default(each: Any) -> bool:
    from dataclasses import MISSING

    return each.default is not MISSING


def _check_name(what: str, name: str) -> None:
    if not NAME.fullmatch(str(name)) or "__" in name:
        raise ValueError(f"{what}: got the name {name!r}, wanted letters, digits and single underscores")


def _all_different(what: str, values: Mapping[str, Any]) -> None:
    seen: dict[Any, str] = {}
    for name, value in values.items():
        if value in seen:
            raise ValueError(f"{what}: got the same for {seen[value]} and {name}, {value}; wanted different ones")
        seen[value] = name


def _list(what: str, value: Any) -> list[Any]:
    """A list, of a single value too: `--config seeds=0`."""
    values = list(value) if isinstance(value, list | tuple) else [value]
    if not values:
        raise ValueError(f"{what}: got none, wanted at least one")
    return values


def _without_groups(value: Any, rows: Mapping[str, Row]) -> Any:
    """The names of rows in the place of each group's name."""
    names = []
    for name in _list("trainers", value):
        names += [row for row in rows if rows[row].group == name] if name in GROUPS else [name]
    return value if value == "all" else list(dict.fromkeys(names))


def _chosen(what: str, value: Any, known: Mapping[str, Any]) -> list[str]:
    names = list(known) if value == "all" else _list(what, value)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{what}: got {', '.join(map(str, unknown))}, wanted all, or any of {', '.join(known)}")
    return names


def _fold(fold: Any) -> str:
    return "all" if fold == "all" else str(_positive("folds", fold, 0, "all (every training case, no validation), or "))


def _positive(what: str, value: Any, least: int = 1, or_else: str = "") -> int:
    """A number from `least`; within `--config KEY={...}` Snakemake gives numbers as text."""
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise ValueError(f"{what}: got {value!r}, wanted {or_else}a whole number from {least}")
    return number


def home(work: str | Path, column: Column) -> Path:
    """The folder of a column, with nnU-Net's three folders in it."""
    return Path(work, column.folder)
