"""Watches over the kernel of a chapter. `run` loads it, as a plugin, into nbmake's process.

Twice a kernel has gone idle for ever while its cell was still waited for: its main thread in the
event loop, the client in its own. A request that lies in a ZeroMQ socket whose wake-up was lost
looks so (ipykernel had such a gap up to 7.3, github.com/ipython/ipykernel/pull/1529). Another one
on the same connection lies beside it; a new connection frees both. So this asks, while a cell is
pending, whether the kernel works at all, connects to it anew if not, and gives up only then, with
the stack of every thread. It also ends a chapter that prints without end, and a kernel whose
builder is gone, and says at which cell a chapter is that takes long.
"""

import asyncio
import os
import signal
import sys
import threading
import time
from contextlib import suppress

import nbmake.nb_run
import psutil
import zmq
from nbclient.client import NotebookClient
from nbclient.exceptions import CellTimeoutError

IDLE = "the kernel is idle and the cell is still waited for"  # `run` looks for these words
SECONDS = float(os.environ.get("BOOKBUILD_IDLE", 30))  # without work: then a new connection
KNOCKS = 3  # that may stay without effect
WORK = 0.01  # of a core: below, a kernel does nothing but look whether its parent is alive
ANSWER = 0.05  # seconds of CPU that a connection may cost it
TELL = float(os.environ.get("BOOKBUILD_TELL", 30))  # seconds between two words of a chapter
MOST = 20e6  # bytes of output of one chapter; a page of this book has less than one million


class Stopped(CellTimeoutError):
    """Why a chapter was stopped; nbmake prints the message without a traceback."""


class WatchedClient(NotebookClient):
    """A client that gives up a kernel which does nothing, or which prints without end."""

    printed = 0
    heard = None  # when this chapter last said where it is

    def process_message(self, msg, cell, cell_index):
        self.printed += len(str(msg["content"].get("text") or msg["content"].get("data") or ""))
        return super().process_message(msg, cell, cell_index)

    async def async_execute_cell(self, cell, cell_index, **options):
        self._tell(cell, cell_index)
        cell_runs = asyncio.ensure_future(super().async_execute_cell(cell, cell_index, **options))
        guard = asyncio.ensure_future(self._guard(cell, cell_index))
        await asyncio.wait({cell_runs, guard}, return_when=asyncio.FIRST_COMPLETED)
        guard.cancel()
        if not cell_runs.done():
            cell_runs.cancel()
            await asyncio.wait({cell_runs})
            raise guard.exception()
        return await cell_runs

    async def _guard(self, cell, cell_index):
        """Returns never; raises Stopped."""
        where = f"cell {cell_index} ({_first_line(cell)})"
        worked, since, knocks = self._work(), time.monotonic(), 0
        while True:
            await asyncio.sleep(min(1, SECONDS / 4))
            self._tell(cell, cell_index)
            if self.printed > MOST:
                raise Stopped(f"{where}: the chapter has printed more than {MOST / 1e6:.0f} MB")
            if time.monotonic() - since < SECONDS:
                continue
            knocks = knocks + 1 if self._work() - worked < WORK * SECONDS + ANSWER else 0
            if knocks > KNOCKS:
                self._tell_stacks()
                raise Stopped(f"{where}: {IDLE}, for {knocks * SECONDS:.0f} s")
            if knocks:
                self._say(f"{where}: the kernel is idle, and is connected to anew")
                await self._knock()
            worked, since = self._work(), time.monotonic()

    async def _knock(self):
        """Let what lies unseen be read: in the kernel's socket by connecting, in ours by asking."""
        door = self.km.connect_shell()
        for channel in (self.kc.shell_channel, self.kc.iopub_channel):
            channel.socket.get(zmq.EVENTS)
        await asyncio.sleep(min(1, SECONDS / 4))
        door.close(linger=0)

    def _tell(self, cell, cell_index) -> None:
        now = time.monotonic()
        self.heard = self.heard or now
        if now - self.heard >= TELL:
            self._say(f"at cell {cell_index} of {len(self.nb.cells)} ({_first_line(cell)})")
            self.heard = now

    def _say(self, words: str) -> None:
        """Write to the builder's terminal, past all that holds back the output of tests."""
        told = f"running {os.environ.get('BOOKBUILD_CHAPTER')} {words}\n"
        with suppress(OSError, KeyError):  # the terminal may be gone
            os.write(int(os.environ["BOOKBUILD_TERMINAL"]), told.encode())

    def _tell_stacks(self) -> None:
        """Where each task here and each thread of the kernel stands, among what pytest captures."""
        for task in asyncio.all_tasks():
            task.print_stack(file=sys.stderr)
        with suppress(ProcessLookupError):
            os.kill(self.km.provisioner.pid, signal.SIGABRT)  # see PYTHONFAULTHANDLER in `run`
            time.sleep(0.5)

    def _work(self) -> float:
        """Seconds of CPU that the kernel and its children, those that have ended too, have used."""
        try:
            kernel = psutil.Process(self.km.provisioner.pid)
            family = [kernel, *kernel.children(recursive=True)]
            return sum(sum(one.cpu_times()[:4]) for one in family)
        except psutil.Error:  # it has died, and nbclient says so
            return 0.0


def _first_line(cell) -> str:
    return cell.source.strip().partition("\n")[0]


def follow(parent: int) -> None:
    """End this process and its kernel when the builder, process `parent`, has ended."""
    while os.getppid() == parent:
        time.sleep(1)
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(1)


def pytest_configure(config):
    nbmake.nb_run.NotebookClient = WatchedClient
    threading.Thread(target=follow, args=(os.getppid(),), daemon=True).start()
