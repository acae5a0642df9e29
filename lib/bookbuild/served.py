"""A folder of pages on an address of this machine."""

import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextmanager
def folder(path: Path):
    """The address at which the files of a folder are served, until the block ends."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
