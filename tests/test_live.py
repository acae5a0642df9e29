"""The model in the page: its engine beside PyTorch, and its canvas beside the library, in node."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from live_cases import asked, make, same, scene_of, with_page_weights

import live
from live import kernel, pack
from live import library as lib
from live.bundle import ASSETS


@pytest.fixture(scope="module")
def other_sizes(tmp_path_factory):
    """A model of the same form in which no size is that of `mini`, with shared keys and values."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    folder = tmp_path_factory.mktemp("other")
    shutil.copytree(lib.load("mini", device="cpu").path, folder, dirs_exist_ok=True)
    (folder / "model.safetensors").unlink()
    told = json.loads((folder / "config.json").read_text())
    told["vision_config"] |= {
        "hidden_size": 48, "num_attention_heads": 3, "intermediate_size": 80, "image_size": 56,
        "num_hidden_layers": 3, "layer_norm_eps": 1e-5,
    }  # fmt: skip
    told["text_config"] |= {
        "hidden_size": 72, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 24,
        "intermediate_size": 104, "num_hidden_layers": 5, "rms_norm_eps": 1e-5,
    }  # fmt: skip
    told["text_config"]["rope_parameters"]["rope_theta"] = 500.0
    told |= {"image_seq_length": 49, "vision_feature_layer": -2}
    torch.manual_seed(1)
    model = LlavaForConditionalGeneration(LlavaConfig(**told))
    for weight in model.parameters():
        weight.data = torch.randn_like(weight) * (0.2 if weight.ndim > 1 else 0.5)
    model.save_pretrained(folder)
    images = json.loads((folder / "processor_config.json").read_text())
    images["image_processor"]["size"] = {"height": 56, "width": 56}
    images["image_processor"] |= {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
    (folder / "processor_config.json").write_text(json.dumps(images))
    return with_page_weights(lib.load(folder, device="cpu"), tmp_path_factory.mktemp("half"))


# --- the engine ---


def in_node(vlm, calls, simd=True):
    """What the lab returns to calls [[name, given], ...] in node, or says is wrong with one."""
    if not shutil.which("node"):
        pytest.skip("no node: the engine was not tried there (chromium tries it, too)")
    request = {"weights": str(vlm.path / "model.safetensors"), "model": pack.model(vlm)}
    request |= {"kit": pack.kit(vlm), "simd": simd, "calls": calls}
    path = vlm.path / "request.json"
    path.write_text(json.dumps(request))
    script = Path(__file__).with_name("live_node.mjs")
    done = subprocess.run(
        ["node", script, ASSETS, path], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [one.get("error") or one["result"] for one in json.loads(done.stdout)["results"]]


def test_the_cases_edit_something(cases):
    """Cases whose edits change nothing would prove nothing."""
    plain = [case for case in cases if case["op"] == "none"]
    spread = np.std([case["expected"] for case in plain], 0).max()
    assert spread > 1  # other questions, other logits
    assert len({case["op"] for case in cases}) == 9
    assert {edit["slot"] for case in cases for edit in case["edits"]} == set(range(9))


@pytest.mark.parametrize("simd, n", [(True, None), (False, 9)])
def test_engine_equals_pytorch_in_node(rounded, cases, simd, n):
    same(cases[:n], in_node(rounded, asked(cases[:n]), simd))


def test_engine_reads_all_sizes_from_the_configuration(other_sizes):
    some = make(other_sizes, 27, seed=5)
    same(some, in_node(other_sizes, asked(some)))


def test_probe_equals_the_library(rounded):
    trial = lib.trials("squares", rounded.geometry)[7]
    rng = np.random.RandomState(0)
    weights, bias = rng.standard_normal((rounded.d_model, 3)), rng.standard_normal(3)
    given = {"view": {"scene": scene_of(trial.stimulus, "squares", rounded.px)}}
    given |= {"weights": weights.tolist(), "bias": bias.tolist()}
    states = rounded.visual([trial.stimulus.image])[0].double()
    expected = (states @ torch.from_numpy(weights) + torch.from_numpy(bias)).softmax(-1)
    (found,) = in_node(rounded, [["probe", given]])
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_what_was_seen_is_kept_between_edits(rounded, cases):
    """The encoder sees each picture once, and layers before the first edit run once."""
    clean, theirs = cases[0]["clean"], cases[9]["clean"]
    calls = []
    for slot in (5, 6):
        edit = {"slot": slot, "op": "copy", "to": [0], "of": [0], "from": theirs}
        calls += [["logits", {"clean": clean, "edits": [edit]}], ["work", {}]]
    found = in_node(rounded, calls)[1::2]
    assert found == [{"seen": 2, "layers": 5 + 5 + 3}, {"seen": 2, "layers": 13 + 1 + 1 + 2}]


def test_wrong_input_is_told(rounded):
    run = {"view": {"scene": {"task": "squares", "items": []}}, "question": "what is this zebra"}
    fine = run | {"question": "what is left".replace("what", "which")}
    copy = {"slot": 9, "op": "copy", "to": [0], "of": [0]}
    given = [["logits", {"clean": run}], ["logits", {"clean": fine, "edits": [copy]}]]
    given.append(["logits", {"clean": fine, "edits": [copy | {"slot": 0, "op": "swop"}]}])
    words, slot, op = in_node(rounded, given)
    assert 'does not know the word "what"' in words
    assert "slot 9 is out of range: 0 .. 8" in slot
    assert 'unknown edit "swop"' in op


def test_rounding_the_weights_keeps_the_answers(rounded):
    """float16 halves the download; on unseen trios no answer may change."""
    whole = lib.load("mini", device="cpu")
    for task in lib.TASKS:
        some = lib.trials(task, whole.geometry, heldout=True)[::12]
        given = [t.stimulus.image for t in some], [t.question for t in some]
        assert rounded.answer(*given) == whole.answer(*given)


def test_other_models_are_refused(rounded):
    vlm = lib.load("mini", device="cpu")
    vlm.path = None
    with pytest.raises(lib.ModelError, match="needs a folder with model.safetensors"):
        live.build("unused", vlm)
    with pytest.raises(ValueError, match="no explorable 'strip'; known: erase-ask"):
        live.embed("strip")


# --- the kernel ---


def test_kernel_is_made_from_its_source():
    pytest.importorskip("wasmtime", reason="pip install wasmtime: mm.wat was not assembled")
    assert (ASSETS / "kernel.js").read_text() == kernel.source(kernel.assembled())


@pytest.mark.parametrize("n, k, m", [(4, 1, 8), (12, 7, 24), (184, 128, 320)])
def test_both_products_equal_numpy(rounded, n, k, m):
    ((fast, plain),) = in_node(rounded, [["product", {"n": n, "k": k, "m": m}]])
    a, b = np.reshape(fast["a"], (n, k)), np.reshape(fast["b"], (k, m))
    for one in (fast, plain):
        np.testing.assert_allclose(np.reshape(one["c"], (n, m)), a @ b, atol=2e-5)


# --- the canvas ---


def scenes(vlm):
    """Every item alone, rows, columns, and items that overlap, with the library's pictures."""
    rng, shape = np.random.RandomState(3), vlm.geometry
    for task in lib.TASKS:
        pool, full = pack.pool(task), task == "squares"
        sets = [[item] for item in pool]
        sets += [[pool[i] for i in rng.permutation(len(pool))[:4]] for _ in range(10)]
        for items in sets:
            cells = [tuple(map(int, rng.randint(0, shape.grid - shape.item + 1, 2))) for _ in items]
            stimulus = lib.draw(items, cells, shape, full=full)
            yield scene_of(stimulus, task, vlm.px), stimulus.pixels


def test_canvas_draws_the_library_pixels(rounded):
    told, pixels = zip(*scenes(rounded), strict=True)
    assert len(told) == 7 + 6 + 8 + 30
    found = in_node(rounded, [["draw", {"scene": scene}] for scene in told])
    for scene, expected, result in zip(told, pixels, found, strict=True):
        drawn = np.frombuffer(base64.b64decode(result), np.uint8)
        assert np.array_equal(drawn, expected.reshape(-1)), scene


def test_regions_are_the_library_regions(rounded):
    trial, grid = lib.trials("squares", rounded.geometry)[0], rounded.grid[0]
    given = {"scene": scene_of(trial.stimulus, "squares", rounded.px)}
    (found,) = in_node(rounded, [["regions", given]])

    def of(region, vertical=False):
        return lib.swap(region, trial.stimulus, grid, vertical)

    for vertical in (False, True):
        first, _, last = found["strips"][vertical]
        assert [*first, *last] == of("strip", vertical).target.tolist()
        assert found["flipped"][vertical] == of("whole", vertical).source.tolist()
    assert [*found["items"][0], *found["items"][2]] == of("object").target.tolist()
    assert found["free"] == of("layout").target.tolist()
