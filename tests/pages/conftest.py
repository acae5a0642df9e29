"""A server for the tests that look at pages as a reader does."""

import pytest
from book import SITE

from bookbuild import served


@pytest.fixture(scope="session")
def server():
    """The address at which the pages are served from this machine."""
    with served.folder(SITE) as address:
        yield address
