"""Small archives on the disk, and a directory for the cache."""

import pytest

from data.small_omniglot import MEMBERS, write_zips


@pytest.fixture
def zips(tmp_path):
    return write_zips(tmp_path / "zips", MEMBERS)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"
