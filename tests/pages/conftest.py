"""A browser and a server for the tests that look at pages as a reader does."""

import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from book import SITE

from bookbuild import browser as chromium


@pytest.fixture(scope="session")
def browser():
    if not chromium.found():  # the browser tests alone are skipped, and none of them in CI
        (pytest.fail if os.environ.get("CI") else pytest.skip)(chromium.INSTALL)
    with chromium.opened() as browser:
        yield browser


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def server():
    """The address at which the pages are served from this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=SITE)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
