"""Chunks that are shown, kept by content and resumed."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from dualmech import figures, sweeps
from dualmech import interventions as I
from dualmech import stimuli as S


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DUALMECH_CACHE", str(tmp_path / "cache"))


def doubled(calls):
    def compute(part):
        calls.append(list(part))
        return np.array(part) * 2.0

    return compute


def test_chunks_are_joined_in_order(vlm):
    calls = []
    out = sweeps.run(vlm, list(range(7)), doubled(calls), "double", chunk=3)
    assert out.tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert calls == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_second_run_computes_nothing_and_a_change_computes_again(vlm):
    calls = []
    first = sweeps.run(vlm, [1, 2, 3], doubled(calls), "double", settings=(0.5,))
    again = sweeps.run(vlm, [1, 2, 3], doubled(calls), "double", settings=(0.5,))
    assert len(calls) == 1 and first.tolist() == again.tolist()
    for items, label, settings in (
        ([1, 2, 4], "double", (0.5,)),
        ([1, 2, 3], "other", (0.5,)),
        ([1, 2, 3], "double", (0.6,)),
        ([1, 2, 3], "double", None),
        ([1, 2, 3], "double", None),  # None: never kept
    ):
        sweeps.run(vlm, items, doubled(calls), label, settings)
    assert len(calls) == 6


def test_another_checkpoint_or_version_computes_again(vlm, monkeypatch):
    calls = []
    sweeps.run(vlm, [1], doubled(calls), "double")
    weights = replace(vlm)
    weights.__dict__["fingerprint"] = "another"
    theta = replace(vlm, model=deepcopy(vlm.model))
    theta.model.config.text_config.rope_parameters["rope_theta"] = 500.0
    pixels = replace(vlm, image_processor=deepcopy(vlm.image_processor))
    pixels.image_processor.image_mean = [0.1, 0.1, 0.1]
    words = replace(vlm, tokenizer=deepcopy(vlm.tokenizer))
    words.tokenizer.add_tokens(["more"])
    template = replace(vlm, chat_template=vlm.chat_template + " ")
    for k, other in enumerate((weights, theta, pixels, words, template)):
        sweeps.run(other, [1], doubled(calls), "double")
        assert len(calls) == k + 2
    before = replace(vlm).checkpoint
    vlm.tokenizer(["red", "red red"], padding=True)  # leaves a setting in the tokenizer
    assert replace(vlm).checkpoint == before
    vlm.tokenizer(["red"], padding=False)
    assert replace(vlm).checkpoint == before
    version = sweeps.metadata.version
    sweeps.code_version.cache_clear()
    monkeypatch.setattr(
        sweeps.metadata, "version", lambda name: version(name) + "1" * (name == "transformers")
    )
    sweeps.run(vlm, [1], doubled(calls), "double")
    assert len(calls) == 7
    sweeps.code_version.cache_clear()


def test_a_stopped_run_goes_on_where_it_was(vlm):
    calls = []

    def stops(part):
        if part == [4, 5]:
            raise KeyboardInterrupt
        return doubled(calls)(part)

    with pytest.raises(KeyboardInterrupt):
        sweeps.run(vlm, list(range(6)), stops, "double", chunk=2)
    out = sweeps.run(vlm, list(range(6)), doubled(calls), "double", chunk=2)
    assert calls == [[0, 1], [2, 3], [4, 5]] and out.tolist() == [0, 2, 4, 6, 8, 10]


def test_a_cut_file_is_measured_again(vlm):
    calls = []
    sweeps.run(vlm, [1, 2], doubled(calls), "double")
    (kept,) = sweeps.cache_dir().iterdir()
    kept.write_bytes(kept.read_bytes()[:-9])
    assert sweeps.run(vlm, [1, 2], doubled(calls), "double").tolist() == [2, 4]
    assert len(calls) == 2


def test_half_as_many_are_tried_when_memory_runs_out(vlm):
    sizes = []

    def heavy(part):
        sizes.append(len(part))
        if len(part) > 3:
            raise torch.OutOfMemoryError("too much")
        return np.array(part)

    assert sweeps.run(vlm, list(range(8)), heavy, "heavy", chunk=8).tolist() == list(range(8))
    assert sizes == [8, 4, 2, 2, 2, 2]

    def too_heavy(part):
        raise torch.OutOfMemoryError("too much")

    with pytest.raises(RuntimeError, match="one item does not fit: load .*random in a smaller"):
        sweeps.run(vlm, [1, 2], too_heavy, "heavy")


def test_little_memory_makes_small_batches(vlm, monkeypatch):
    alone = sweeps.free_memory(vlm.device) / 2 / sweeps.room(vlm, 9)
    monkeypatch.setattr(sweeps, "free_memory", lambda device: int(alone * 2 * 2.5))
    sizes = []

    def count(part):
        sizes.append(len(part))
        return np.array(part)

    sweeps.run(vlm, [1, 2, 3, 4, 5], count, "count", kept=9)
    assert sizes == [2, 2, 1]


def test_the_estimate_of_memory_covers_what_a_sweep_keeps(vlm):
    pair = S.swap_pairs("squares", "left", 1)[0]
    run = vlm.prefix(I.inputs(vlm, [pair.clean]))
    kept = 2 * sum(r.numel() * r.element_size() for r in run.resid.values())
    assert sweeps.free_memory(vlm.device) / 2 / sweeps.room(vlm, vlm.n_slots) > kept


def test_nothing_to_measure_is_an_error(vlm):
    with pytest.raises(ValueError, match="no items for 'double'"):
        sweeps.run(vlm, [], doubled([]), "double")


def test_content():
    pair = S.swap_pairs("squares", "left", 1)[0]
    same = S.swap_pairs("squares", "left", 1)[0]
    assert sweeps.content(pair) == sweeps.content(same)
    assert sweeps.content(pair.clean) != sweeps.content(pair.counterfactual)
    different = [1, 1.0, "1", None, (1, 2), ((1,), 2), np.ones(2), np.ones((1, 2)), {"a": 1}]
    assert len({sweeps.content(x) for x in different}) == len(different)
    assert sweeps.content(torch.ones(2)) == sweeps.content(np.ones(2, np.float32))
    assert sweeps.content(I.ordering_removed) != sweeps.content(I.amplified)
    assert sweeps.content(torch.tensor([2**40 + 1])) != sweeps.content(torch.tensor([2**40]))
    with pytest.raises(TypeError, match="cannot tell the content"):
        sweeps.content(figures.table)  # of a module that the name of a result does not cover
    with pytest.raises(TypeError, match="cannot tell the content"):
        sweeps.content(lambda x: x)


def test_a_sweep_with_a_function_of_the_reader_is_not_kept(vlm):
    pairs = S.swap_pairs("squares", "left", 1)
    white = vlm.visual([S.draw([], []).image])

    def mine(vlm, trials):
        return white.expand(len(trials), -1, -1)

    I.region_swap(vlm, pairs, "object", [0], visual=mine)
    assert not sweeps.cache_dir().exists()
    I.region_swap(vlm, pairs, "object", [0], visual=I.ordering_removed)
    assert len(list(sweeps.cache_dir().iterdir())) == 1
