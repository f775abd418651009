"""Right: the tables of tests/ops on the GPU for its engines, each test a row."""

import re
import sys
from importlib.util import find_spec
from pathlib import Path

from gpu.parts import Setup
from gpu.report import DEVICE_LOST, LeftOut, Report, first_lines
from gpu.table import FAILED, LEFT_OUT, PASSED

TESTS = Path(__file__).resolve().parents[2] / "tests"
ENGINES = ("triton", "mamba_ssm")
LONG = "test_long_sequences"  # their float64 definition takes minutes on a CPU: last
# what the interpreter does in seconds
DRY = re.compile(r"equals_the_reference\[.*\(1, 1, 1|zero_input|half_precision.*float16")


def run(report: Report, setup: Setup) -> None:
    """Let pytest run the tests that take an engine of the GPU's."""
    if find_spec("pytest") is None:
        raise LeftOut("pytest is not installed: pip install nnunet-mamba[test]")
    import pytest

    rows = _Rows(report, setup)
    options = ["--rootdir", str(TESTS.parent), "-c", str(TESTS.parent / "setup.cfg"), "-q", "-p", "no:cacheprovider"]
    status = pytest.main([*options, "-p", "no:xdist", str(TESTS / "ops" / "test_scan.py")], plugins=[rows])
    if rows.device_lost:
        sys.exit(DEVICE_LOST)
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(f"pytest ended with {status!r}: see the log")


class _Rows:
    """pytest's plugin that chooses the tests and reports each as soon as it has ended."""

    def __init__(self, report: Report, setup: Setup):
        self.report, self.setup = report, setup
        self.device_lost = False
        self._status, self._error = PASSED, ""

    def pytest_collection_modifyitems(self, items: list) -> None:
        chosen = [x for x in items if _engine(x) in (ENGINES[:1] if self.setup.dry else ENGINES)]
        if self.setup.dry:
            chosen = [item for item in chosen if DRY.search(item.name)]
        chosen.sort(key=lambda item: (item.name.startswith(LONG), ENGINES.index(_engine(item))))
        self.report.announce([item.name for item in chosen])
        items[:] = [item for item in chosen if item.name not in self.report.done]
        items.sort(key=lambda item: item.name in self.report.late)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._status, self._error = PASSED, ""
        self.report.start(_row(nodeid))

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            self._status, self._error = FAILED, first_lines(crash.message if crash else str(report.longrepr))
        elif report.skipped:
            self._status, self._error = LEFT_OUT, str(report.longrepr[2]).removeprefix("Skipped: ")

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        import pytest

        self.report.end(_row(nodeid), self._status, error=self._error)
        if self._status == FAILED and not self.report.device_works():
            self.device_lost = True
            pytest.exit("the device is lost")


def _engine(item) -> str | None:
    return item.callspec.params.get("engine") if hasattr(item, "callspec") else None


def _row(nodeid: str) -> str:
    return nodeid.partition("::")[2]
