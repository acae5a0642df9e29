"""The chromium of this machine, which prints the pages and tests them."""

import shutil
from contextlib import contextmanager

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL = "no chromium here: `apt-get install chromium` (as root) or `brew install --cask chromium`"


def found() -> str | None:
    """The path of a chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def opened():
    """A browser, closed at the end.  Raises FileNotFoundError with the line to install one."""
    path = found()
    if path is None:
        raise FileNotFoundError(INSTALL)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        try:
            yield browser
        finally:
            browser.close()
