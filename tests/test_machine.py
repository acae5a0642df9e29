"""Memory: batches that fit, and what a container leaves (packages are in `test_colab`)."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import dualmech
from dualmech import edits as E
from dualmech import stimuli as S
from vlms import machine


def test_half_as_many_are_tried_where_memory_ends():
    sizes = []

    def heavy(most, error):
        def compute(some):
            sizes.append(len(some))
            if len(some) > most:
                raise error
            return some

        return compute

    for error in (torch.OutOfMemoryError("too much"), MemoryError(),
                  RuntimeError("DefaultCPUAllocator: can't allocate memory"),
                  RuntimeError("could not create a primitive")):  # fmt: skip
        sizes.clear()
        found = machine.in_batches(list(range(8)), heavy(3, error), 50, "random")
        assert sum(found, []) == list(range(8)) and sizes == [8, 4, 2, 2, 2, 2]
        with pytest.raises(RuntimeError, match="^one item does not fit: load random in a smaller"):
            machine.in_batches([1, 2], heavy(0, error), 2, "random")
    with pytest.raises(RuntimeError, match="^a fault$"):
        machine.in_batches([1, 2], heavy(0, RuntimeError("a fault")), 2, "random")
    for size in (0, -1):
        with pytest.raises(ValueError, match=f"^a batch of {size} items: give at least 1$"):
            machine.in_batches([1, 2], heavy(8, RuntimeError()), size, "random")


LIMITED = """
import resource, sys
import numpy as np, psutil
import dualmech
from vlms.model import VLM

vlm, sizes, prepare = dualmech.load(sys.argv[1], "cpu"), [], VLM.prepare

def counted(self, images, questions):
    sizes.append(len(images))
    return prepare(self, images, questions)

VLM.prepare = counted
images = np.random.RandomState(0).randint(0, 256, (32, 96, 96, 3)).astype(np.uint8)
vlm.answer(list(images[:1]), ["red"])
room = psutil.Process().memory_info().vms + 30 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (room, resource.RLIM_INFINITY))
print(*vlm.answer(list(images), ["red"] * 32), *sizes, sep=",")
"""


def test_a_cpu_whose_memory_ends_answers_in_smaller_batches(vlm, checkpoint):
    lib = {"PYTHONPATH": str(Path(dualmech.__file__).parents[1])}
    command = [sys.executable, "-c", LIMITED, str(checkpoint)]
    done = subprocess.run(command, env=os.environ | lib, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    told = done.stdout.strip().split(",")
    images = np.random.RandomState(0).randint(0, 256, (32, 96, 96, 3)).astype(np.uint8)
    assert told[:32] == vlm.answer(list(images), ["red"] * 32)
    assert told[32:34] == ["1", "32"] and int(told[34]) <= 16


def test_a_batch_is_as_large_as_fits_and_as_is_quick(vlm, monkeypatch):
    quick = machine.batch_size(vlm)
    assert quick == machine.CACHE // ((144 + 64) * 128 * 4)
    for free, most in ((0, 1), (2**40, quick)):
        monkeypatch.setattr(machine, "free_memory", lambda device, free=free: free)
        assert machine.batch_size(vlm) == most
    monkeypatch.setattr(machine, "free_memory", lambda device: 2**25)  # of a few items
    sizes = []
    fits = machine.batch_size(vlm)
    assert 1 < fits < quick

    def note(resid, b):
        sizes.append(len(resid))
        return resid

    E.sweep(vlm, S.swap_pairs("squares", "left", fits + 1), note, [8])
    assert sizes == [fits, 1]


@pytest.mark.parametrize(
    ("two", "one", "free"),
    [
        (("1000", "400", "anon 7\ninactive_file 150\n"), None, 750),
        (("1000", "1400", "inactive_file 150\n"), None, 0),
        (("1000", "400", "anon 7\n"), ("9", "9", ""), 600),
        (("max", "400", "inactive_file 150\n"), None, sys.maxsize),
        (("max", "400", ""), ("2000", "500", "inactive_file 9\ntotal_inactive_file 100\n"), 1600),
        (None, ("2000", "500", "total_inactive_file 100\n"), 1600),
        (("1000", "", ""), None, sys.maxsize),  # a file that cannot be understood
        (None, None, sys.maxsize),
    ],
)
def test_what_a_container_may_still_take(tmp_path, monkeypatch, two, one, free):
    """By the control groups of Linux, version 2 and 1: the limit, the use, what can be had back."""
    places = []
    for version, (files, given) in enumerate(zip(machine.CONTAINER, (two, one), strict=True)):
        paths = [tmp_path / f"{version}.{k}" for k in range(3)]
        for path, text in zip(paths, given or (), strict=False):
            path.write_text(text)
        places.append((*map(str, paths), files[3]))
    monkeypatch.setattr(machine, "CONTAINER", places)
    assert machine._container() == free
    memory = machine.free_memory(torch.device("cpu"))
    assert memory == free if free < 1e6 else memory > 1e6
