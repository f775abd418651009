"""One home of nnU-Net's for all tests that train through its commands: each training is run once."""

import pytest

from helpers.nnunet_scenarios import Scenarios


@pytest.fixture(scope="session")
def scenarios(tmp_path_factory):
    with Scenarios(tmp_path_factory.mktemp("nnunet")) as home:
        yield home
