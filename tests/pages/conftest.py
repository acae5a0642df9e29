"""A server for the tests that look at pages as a reader does."""

import pytest
from book import SITE, name

from bookbuild import served


def pytest_collection_modifyitems(items):
    """For `--dist loadgroup` of pytest-xdist: what visits one page runs in one process, and so does
    a file whose tests share more than the browser."""
    for item in items:
        page = getattr(item, "callspec", None) and item.callspec.params.get("visited")
        if page or item.path.stem != "test_browser":
            group = name(page) if page else item.path.stem
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def server():
    """The address at which the pages are served from this machine."""
    with served.folder(SITE) as address:
        yield address
