"""A browser and a server for the tests that look at pages as a reader does."""

import os

import pytest
from book import SITE

from bookbuild import browser as chromium
from bookbuild import served


@pytest.fixture(scope="session")
def browser():
    if not chromium.found():  # the browser tests alone are skipped, and none of them in CI
        (pytest.fail if os.environ.get("CI") else pytest.skip)(chromium.INSTALL)
    with chromium.opened() as browser:
        yield browser


@pytest.fixture(scope="session")
def server():
    """The address at which the pages are served from this machine."""
    with served.folder(SITE) as address:
        yield address
