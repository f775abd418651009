"""Homes of nnU-Net's: one for all tests that train through its commands, a tiny one for those that take steps."""

import pytest

from helpers import tiny_nnunet
from helpers.nnunet_scenarios import Scenarios


@pytest.fixture(scope="session")
def scenarios(tmp_path_factory):
    with Scenarios(tmp_path_factory.mktemp("nnunet")) as home:
        yield home


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The variables of a tiny preprocessed data set, two discs, one to train with; they are set."""
    cases = tiny_nnunet.discs(2)
    environment = tiny_nnunet.write(tmp_path_factory.mktemp("tiny"), cases, [{"train": ["disc0"], "val": ["disc1"]}])
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield environment
