"""Chunks of a sweep: shown, kept by content, resumed, and never a reason to stop or to be wrong."""

import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import dualmech
from dualmech import edits as E
from dualmech import figures, store
from dualmech import stimuli as S


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DUALMECH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def doubled(vlm, items=range(7), settings=(0.5,), stop=None):
    """The chunks of 3 that were computed on the way to the doubles of items; stop: it is stopped
    at the chunk that begins with this."""
    calls = []

    def compute(some):
        if some[0] == stop:
            raise KeyboardInterrupt
        calls.append(list(some))
        return {"twice": np.array([[some]]) * 2.0, "name": np.array([[some]]).astype(str)}

    found = store.swept(vlm, list(items), compute, "double", settings, 3)
    assert found["twice"].tolist() == [[[2 * i for i in items]]]
    assert found["name"].tolist() == [[[str(i) for i in items]]]
    return calls


WHOLE = [[0, 1, 2], [3, 4, 5], [6]]


# --- by content --------------------------------------------------------------------------


def test_a_second_run_computes_nothing_and_a_change_computes_again(vlm, folder):
    assert doubled(vlm) == WHOLE and doubled(vlm) == []
    assert len(list(folder.glob("*.npz"))) == 3 == len(list(folder.iterdir()))
    assert doubled(vlm, [0, 1, 2, 3, 5, 6]) == [[3, 5, 6]], "a chunk that is known is not computed"
    assert doubled(vlm, settings=(0.6,)) == WHOLE
    for settings in (None, lambda x: x):  # not to be kept; not to be told
        assert doubled(vlm, settings=settings) == doubled(vlm, settings=settings) == WHOLE
    with pytest.raises(ValueError, match="no items for 'double'"):
        doubled(vlm, [])


def test_another_checkpoint_or_version_computes_again(vlm, monkeypatch):
    assert doubled(vlm) == WHOLE
    weights, theta = (replace(vlm, model=deepcopy(vlm.model)) for _ in range(2))
    weights.language_model.layers[3].mlp.up_proj.weight.data[0, 0] += 1e-3
    theta.model.config.text_config.rope_parameters["rope_theta"] = 500.0
    pixels = replace(vlm, image_processor=deepcopy(vlm.image_processor))
    pixels.image_processor.image_mean = [0.1, 0.1, 0.1]
    words = replace(vlm, tokenizer=deepcopy(vlm.tokenizer))
    words.tokenizer.add_tokens(["more"])
    template = replace(vlm, chat_template=vlm.chat_template + " ")
    half = replace(vlm, model=deepcopy(vlm.model).bfloat16())
    for other in (weights, theta, pixels, words, template, half):
        assert doubled(other) == WHOLE and doubled(other) == []
    vlm.tokenizer(["red", "red red"], padding=True)  # leaves a setting in the tokenizer
    assert doubled(vlm) == []
    version = store.metadata.version
    monkeypatch.setattr(store.metadata, "version", lambda name: version(name) + ".1")
    store.code_version.cache_clear()
    assert doubled(vlm) == WHOLE
    store.code_version.cache_clear()


def test_content():
    pair, same = (S.swap_pairs("squares", "left", 1)[0] for _ in range(2))
    assert store.content(pair) == store.content(same) != store.content(pair.clean)
    different = [1, 1.0, "1", None, (1, 2), ((1,), 2), np.ones(2), np.ones((1, 2)), {"a": 1},
                 torch.tensor([2**40 + 1]), torch.tensor([2**40]), E.ordering_removed, E.nothing,
                 E.swap("strip"), E.swap("object"), E.swap("strip", 1), E.copy([1])]  # fmt: skip
    assert len({store.content(x) for x in different}) == len(different)
    assert store.content(torch.ones(2)) == store.content(np.ones(2, np.float32))
    assert store.content(E.swap("strip", 1)) == store.content(E.swap("strip", seed=1))
    made = partial(lambda x: x, 1)
    for untold in (figures.table, lambda x: x, made, E.both(E.nothing, made), np.array([made])):
        with pytest.raises(TypeError, match="cannot tell the content"):
            store.content(untold)


def test_a_function_of_a_notebook_is_kept_under_a_key_or_not_at_all(vlm, folder):
    pairs, runs, white = S.swap_pairs("squares", "left", 2), [], vlm.visual([S.draw([], []).image])

    def mine(resid, b, size=1.0):
        runs.append(b.slot)
        resid[:, -1] *= size
        return resid

    def visual(vlm, trials):
        runs.append("visual")
        return white.expand(len(trials), -1, -1)

    def measure(edit=mine, key=None, **how):
        runs.clear()
        found = E.sweep(vlm, pairs, edit, [2], key=key, **how)
        return found, bool(runs)

    first, _ = measure()
    assert measure()[1] and not folder.exists()
    assert measure(key="one")[1]
    again, ran = measure(key="one")
    assert not ran and np.array_equal(again.p, first.p) and np.array_equal(again.said, first.said)
    other, ran = measure(partial(mine, size=9.0), key="two")
    assert ran and not np.allclose(other.p, first.p, atol=1e-4)
    trials = [pair.clean for pair in pairs]
    for how in ({"visual": visual}, {"edit": {"a": mine, "b": mine}}, {"source": trials}):
        assert measure(key="one", **how)[1] and not measure(key="one", **how)[1], how
    for key, times in ((None, 2), ("white", 1)):
        runs.clear()
        one, two = (E.sweep(vlm, trials, E.nothing, [0], visual=visual, key=key) for _ in range(2))
        assert np.array_equal(one.p, two.p) and runs == ["visual"] * times
    count = len(list(folder.iterdir()))
    E.sweep(vlm, pairs, E.swap("object"), [0], visual=E.ordering_removed)
    assert len(list(folder.iterdir())) == count + 1


# --- damage and full disks -----------------------------------------------------------------


def noticed(vlm, words) -> list:
    """The chunks computed in a sweep that warns once; twice would be shown once, too."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        calls = doubled(vlm)
    assert len(told) == 1 and words in str(told[0].message), [str(w.message) for w in told]
    return calls


def test_a_flipped_bit_is_noticed_and_measured_again(vlm, folder):
    """Also one that a zip archive does not notice, as in the name of an array."""
    doubled(vlm)
    path = next(p for p in folder.iterdir() if np.load(p)["twice"].shape[2] == 1)
    raw = path.read_bytes()
    for bit in [8 * raw.rindex(b"twice"), *range(5, 8 * len(raw), 8 * len(raw) // 11)][:12]:
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert noticed(vlm, f"{path} is damaged and is measured again") == [[6]]
        assert path.read_bytes() == raw


@pytest.mark.parametrize("length", [0, 31, -9, "another"])
def test_a_cut_file_or_that_of_another_chunk_is_measured_again(vlm, folder, length):
    """As a tool that keeps folders alike may leave it: whole, and not what its name says."""
    doubled(vlm)
    path, other = [p for p in folder.iterdir() if np.load(p)["twice"].shape[2] == 3]
    path.write_bytes(other.read_bytes() if length == "another" else path.read_bytes()[:length])
    assert len(noticed(vlm, f"{path} is damaged and is measured again")) == 1
    assert doubled(vlm) == []


@contextmanager
def read_only(folder):
    """A folder in which nothing can be made, whoever asks: root may write anywhere."""
    folder.chmod(0o555)
    if root := os.geteuid() == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


@contextmanager
def full_disk(_folder):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(("limit", "words"), [(read_only, "Permission denied"),
                                              (full_disk, "File too large")])  # fmt: skip
def test_where_nothing_can_be_kept_a_sweep_warns_once_and_goes_on(vlm, monkeypatch, limit, words):
    with tempfile.TemporaryDirectory() as place:  # which another user may look into
        folder = Path(place) / "cache"
        folder.mkdir()
        Path(place).chmod(0o755)
        monkeypatch.setenv("DUALMECH_CACHE", str(folder))
        with limit(folder):
            assert noticed(vlm, f"sweeps are not kept in {folder}: {words}") == WHOLE
        assert not list(folder.iterdir()), "half a file was left"
        assert doubled(vlm) == WHOLE and doubled(vlm) == []


def test_nobody_has_a_home(vlm, monkeypatch, tmp_path):
    """As under a user's number that the machine does not know."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("DUALMECH_CACHE")
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)
    assert store.cache_dir() == tmp_path / "dualmech"
    assert doubled(vlm) == WHOLE and doubled(vlm) == []


@pytest.mark.parametrize("put", [lambda f: f.symlink_to(f), lambda f: f.write_text("")])
def test_a_link_to_itself_or_a_file_where_the_folder_should_be(vlm, folder, put):
    put(folder)
    assert noticed(vlm, f"sweeps are not kept in {folder}: ") == WHOLE


def test_what_a_killed_process_left_goes_after_an_hour(vlm, folder):
    folder.mkdir()
    old, new = folder / "1.part", folder / "2.part"
    for part in (old, new):
        part.write_text("half")
    os.utime(old, (time.time() - 4000,) * 2)
    doubled(vlm)
    assert not old.exists() and new.exists(), "another process may be about to write"


# --- stopped, killed, two at once -------------------------------------------------------------


def test_a_stopped_sweep_goes_on_where_it_was(vlm):
    with pytest.raises(KeyboardInterrupt):
        doubled(vlm, stop=3)
    assert doubled(vlm) == WHOLE[1:]


SWEEP = """
import sys
from functools import partial
import dualmech
from dualmech import edits, stimuli, store

def wait(part, path, replace=store.Path.replace):
    print("writing", flush=True)
    sys.stdin.readline()
    return replace(part, path)

store.Path.replace = wait
store.swept = partial(store.swept, chunk=2)
pairs = stimuli.swap_pairs("squares", "left", 6)
edits.sweep(dualmech.load(sys.argv[1], "cpu"), pairs, edits.swap("random", 3), [4])
"""


def test_a_sweep_that_is_killed_while_another_writes_the_same_goes_on_to_the_same_bits(
    vlm, checkpoint, folder, monkeypatch
):
    lib = {"PYTHONPATH": str(Path(dualmech.__file__).parents[1])}
    pairs, begin, counted = S.swap_pairs("squares", "left", 6), E.started, []

    def count(vlm, trials, *rest):
        counted.extend(trials)
        return begin(vlm, trials, *rest)

    def sweep(pairs):
        counted.clear()
        return E.sweep(vlm, pairs, E.swap("random", 3), [4]).p

    def suffixes():
        return sorted(path.suffix for path in folder.iterdir())

    monkeypatch.setattr(E, "started", count)
    monkeypatch.setattr(store, "swept", partial(store.swept, chunk=2))
    with subprocess.Popen(
        [sys.executable, "-c", SWEEP, str(checkpoint)], env=os.environ | lib, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as other:  # fmt: skip
        assert other.stdout.readline() == "writing\n" and suffixes() == [".part"]
        first = sweep(pairs[:2])
        assert len(counted) == 2 * 2 and suffixes() == [".npz", ".part"]
        print(file=other.stdin, flush=True)  # goes on, and puts the same in the same place
        assert other.stdout.readline() == "writing\n" and suffixes() == [".npz", ".part"]
        other.kill()
    whole = sweep(pairs)
    assert len(counted) == 2 * 4 and np.array_equal(whole[:, :2], first), "two of six were kept"
    monkeypatch.setenv("DUALMECH_CACHE", str(folder / "empty"))
    assert np.array_equal(whole, sweep(pairs)) and len(counted) == 2 * 6
