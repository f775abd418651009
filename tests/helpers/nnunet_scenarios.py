"""nnU-Net's integration scenarios on small data sets: labels, overlapping regions, an ignore label, and both."""

import numpy as np

from helpers.nnunet_home import NnUNetHome, short

DATASET = {
    "labels": "Dataset001_Labels",
    "regions": "Dataset002_Regions",
    "ignore": "Dataset003_Ignore",
    "regions and ignore": "Dataset004_RegionsIgnore",
}
CASES = 6
SIZE = (3, 40, 48)  # slices, and an axis that is no multiple of 32


def volumes(seed, annotated):
    """A noisy body with a core per case; unless `annotated`, one of three slices has no labels (3 = ignore)."""
    generator = np.random.default_rng(seed)
    rows, columns = np.ogrid[: SIZE[1], : SIZE[2]]
    for case in range(CASES):
        distance = np.hypot(rows - generator.integers(16, 24), columns - generator.integers(18, 30))
        labels = np.zeros(SIZE, np.uint8)
        labels[:, distance < 12] = 1
        labels[1:, distance < 6] = 2
        image = (generator.normal(0, 0.5, SIZE) + 2 * labels).astype(np.float32)
        if not annotated:
            labels[case % 3] = 3
        yield f"case{case}", image, labels


class Scenarios(NnUNetHome):
    """The home with its data sets; each is planned, and each training run, at its first use."""

    def __enter__(self):
        self._planned, self._trained = set(), set()
        return super().__enter__()

    def planned(self, scenario):
        """Name of the scenario's data set, planned and preprocessed."""
        name = DATASET[scenario]
        if name not in self._planned:
            regions, ignore = "regions" in scenario, "ignore" in scenario
            labels = {"background": 0, "body": [1, 2] if regions else 1, "core": 2}
            more = {"regions_class_order": [1, 2]} if regions else {}
            seed = list(DATASET).index(scenario)
            self.add_dataset(name, labels | ({"ignore": 3} if ignore else {}), list(volumes(seed, not ignore)), **more)
            number = name[7:10]
            options = "-c", "2d", "-npfp", 1, "-np", 1, "--verify_dataset_integrity"
            self.command("nnUNetv2_plan_and_preprocess", "-d", number, *options)
            self._planned.add(name)
        return name

    def trained(self, scenario, trainer, fold=0):
        """Folder of the fold of the short form of `trainer`."""
        name, key = self.planned(scenario), (scenario, trainer, fold)
        if key not in self._trained:
            self.command("nnUNetv2_train", name, "2d", fold, "-tr", short(trainer), "-device", "cpu", "--npz")
            self._trained.add(key)
        return self.fold(name, short(trainer), fold)

    def predict(self, scenario, trainer, images, output, *options, folds=(0,)):
        self.command(
            "nnUNetv2_predict", "-d", DATASET[scenario], "-c", "2d", "-tr", short(trainer), "-f", *folds,
            "-i", images, "-o", output, "-device", "cpu", "-npp", 1, "-nps", 1, *options,
        )  # fmt: skip
        return output
