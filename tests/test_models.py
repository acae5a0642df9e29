"""A `VLM` against the plain Hugging Face model, PyTorch hooks written here, and TransformerLens."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

import dualmech
import organism
from dualmech import stimuli as S
from dualmech.models import ModelError, check_files

SLOTS = range(9)  # eight layers


def inputs(vlm, trials):
    return vlm.prepare([t.stimulus.image for t in trials], [t.question for t in trials])


@pytest.fixture(scope="module")
def x(vlm, trials):
    return inputs(vlm, trials)


@pytest.fixture(scope="module")
def prefix(vlm, x):
    return vlm.prefix(x)


def hooked(model, x, slot, fn):
    """Logits of a Hugging Face model when a PyTorch hook edits the residual at a slot."""
    layers = model.model.language_model.layers
    if slot < len(layers):
        handle = layers[slot].register_forward_pre_hook(lambda _m, args: (fn(args[0]), *args[1:]))
    else:
        handle = layers[-1].register_forward_hook(lambda _m, _args, out: fn(out))
    with handle, torch.no_grad():
        return model(**x, use_cache=False, logits_to_keep=1).logits[:, -1]


def push(resid):
    """Move a visual token of the first row and the last token of the others."""
    generator = torch.Generator().manual_seed(0)
    resid = resid.clone()
    resid[0, -60] += 10 * torch.randn(resid.shape[-1], generator=generator)
    resid[1:, -1] += torch.randn(resid.shape[-1], generator=generator)
    return resid


# --- facts ---------------------------------------------------------------------------


def test_facts(vlm, checkpoint):
    assert (vlm.grid, vlm.px, vlm.canvas) == ((12, 12), 8, (96, 96))
    assert (vlm.n_layers, vlm.n_slots, vlm.d_model) == (8, 9, 128)
    assert vlm.path == checkpoint and vlm.name == str(checkpoint)
    assert not vlm.model.training
    assert not any(p.requires_grad for p in vlm.model.parameters())
    assert vlm.words[:6] == ["<pad>", "<s>", "</s>", "<unk>", "<image>", "assistant:"]
    assert len(vlm.words) == vlm.model.config.text_config.vocab_size


def test_fingerprint_is_of_the_weights(vlm, checkpoint):
    again = dualmech.load(checkpoint, device="cpu")
    assert again.fingerprint == vlm.fingerprint and len(vlm.fingerprint) == 16
    changed = dualmech.load(checkpoint, device="cpu")
    changed.language_model.layers[7].mlp.down_proj.weight[0, 0] += 1
    assert changed.fingerprint != vlm.fingerprint


# --- inputs --------------------------------------------------------------------------


def test_prompt(vlm):
    question = "The color of the square above the red square is "
    prompt = vlm.prompt(question)
    assert prompt.startswith(f"<s><image>{question}")
    assert prompt.removeprefix(f"<s><image>{question}").strip() == "assistant:"


@pytest.mark.parametrize("end", ["", " ", "  ", "\n"])
def test_white_space_after_a_question_does_not_matter(vlm, trials, end):
    trial = trials[4]
    x = vlm.prepare([trial.stimulus.image] * 2, [trial.question, trial.question.rstrip() + end])
    assert torch.equal(x["input_ids"][0], x["input_ids"][1])


def test_prepare(vlm, trials, x):
    words = vlm.words
    for ids, mask, trial in zip(x["input_ids"], x["attention_mask"], trials, strict=True):
        assert mask.tolist() == sorted(mask), "padding is on the left"
        assert set(ids[mask == 0].tolist()) <= {words.index("<pad>")}
        told = [words[i] for i in ids[mask == 1].tolist()]
        assert told == ["<s>", *["<image>"] * 144, *trial.question.lower().split(), "assistant:"]
    assert (x["attention_mask"] == 0).any(), "the trials differ in length"
    pixels = np.stack([t.stimulus.pixels for t in trials]).transpose(0, 3, 1, 2)
    assert_close(x["pixel_values"], torch.from_numpy(pixels / 127.5 - 1).float())


def test_positions_are_those_of_the_image_tokens(vlm, x):
    at = vlm.positions(x)
    length = x["input_ids"].shape[1]
    for row, found in enumerate(at):
        start = int((x["attention_mask"][row] == 0).sum()) + 1
        assert found.tolist() == list(range(start, start + 144)) and start + 144 < length


def test_visual_tokens_are_in_raster_order(vlm):
    """A changed cell of pixels changes the visual token of its row and column most."""
    rng = np.random.RandomState(0)
    ground = rng.randint(0, 256, (96, 96, 3)).astype(np.uint8)
    images = [ground]
    for row in range(12):
        for col in range(12):
            cell = ground.copy()
            cell[8 * row : 8 * row + 8, 8 * col : 8 * col + 8] = rng.randint(0, 256, 3)
            images.append(cell)
    states = vlm.visual([Image.fromarray(i) for i in images], batch=50)
    assert states.shape == (145, 144, 128)
    moved = (states[1:] - states[0]).norm(dim=-1)
    assert moved.argmax(1).tolist() == list(range(144))


def test_visual_is_what_the_language_model_receives(vlm, trials, x, prefix):
    row = torch.arange(len(trials))[:, None]
    states = vlm.visual([t.stimulus.image for t in trials])
    assert_close(states, prefix.resid[0][row, vlm.positions(x)], rtol=0, atol=1e-5)
    one_by_one = vlm.visual([t.stimulus.image for t in trials], batch=1)
    assert_close(one_by_one, states, rtol=0, atol=1e-5)


# --- passes --------------------------------------------------------------------------


def test_forward_is_the_plain_model(vlm, plain, x):
    run = vlm.forward(x, slots=SLOTS)
    with torch.no_grad():
        assert_close(run.logits, plain(**x).logits[:, -1], rtol=0, atol=1e-5)
        # to the last bit, where the very same weights do the same work
        out = vlm.model(**x, use_cache=False, logits_to_keep=1, output_hidden_states=True)
    assert torch.equal(run.logits, out.logits[:, -1])
    for slot in range(8):
        assert torch.equal(run.resid[slot], out.hidden_states[slot]), slot
    normed = vlm.language_model.norm(run.resid[8])
    assert torch.equal(normed, out.hidden_states[8])
    assert run.logits.std() > 0.1, "a model that says something"


def test_only_the_slots_asked_for_are_kept(vlm, x, prefix):
    assert vlm.forward(x).resid == {}
    run = vlm.forward(x, slots=[2, 8])
    assert set(run.resid) == {2, 8}
    assert torch.equal(run.resid[2], prefix.resid[2])
    assert set(prefix.resid) == set(SLOTS)


@pytest.mark.parametrize("slot", SLOTS)
def test_an_edit_is_a_pytorch_hook(vlm, plain, x, prefix, slot):
    edited = vlm.forward(x, [(slot, push)], slots=[slot])
    assert torch.equal(edited.logits, hooked(vlm.model, x, slot, push))
    assert_close(edited.logits, hooked(plain, x, slot, push), rtol=0, atol=1e-5)
    assert torch.equal(edited.resid[slot], push(prefix.resid[slot])), "kept after the edit"
    moved = (edited.logits - prefix.logits).abs().amax(1)
    assert (moved[1:] > 1e-2).all()
    # behind the last layer a visual token reaches no answer
    assert moved[0] > 1e-4 if slot < 8 else moved[0] == 0


@pytest.mark.parametrize("slot", SLOTS)
def test_a_suffix_is_a_whole_run_with_the_edit(vlm, x, prefix, slot):
    whole = vlm.forward(x, [(slot, push)]).logits
    kept = prefix.resid[slot].clone()
    assert torch.equal(vlm.suffix(prefix, slot, push(kept)), whole)
    assert torch.equal(prefix.resid[slot], kept), "the prefix can be used again"


def test_edits_at_two_slots_and_twice_at_one(vlm, plain, x):
    double, shift = lambda r: 2 * r, lambda r: r + 1
    run = vlm.forward(x, [(3, double), (3, shift), (6, push)])
    seen = vlm.forward(x, [(3, lambda r: 2 * r + 1)], slots=[6])
    assert torch.equal(run.logits, vlm.forward(x, [(6, lambda _r: push(seen.resid[6]))]).logits)


def test_a_walk_is_the_pass_slot_by_slot(vlm, x, prefix):
    run = vlm.begin(x)
    for slot, resid in enumerate(vlm.walk(run)):
        assert torch.equal(resid, prefix.resid[slot])
    assert slot == 8
    assert torch.equal(vlm.head(resid)[:, -1], prefix.logits)
    assert_close(vlm.head(resid, 3)[:, -1:], vlm.head(resid), rtol=0, atol=1e-5)


def test_a_run_begins_without_a_layer_and_leaves_the_layers_as_they_were(vlm, x, prefix):
    layers, computed = vlm.language_model.layers, []
    layers[2].forward = own = layers[2].forward  # as a quantised layer has its own
    handle = layers[0].mlp.register_forward_hook(lambda *_: computed.append(0))
    with handle:
        vlm.begin(x)
    assert not computed
    assert vars(layers[2])["forward"] is own and "forward" not in vars(layers[1])
    with pytest.raises(ValueError):  # nor does a failure leave the layers replaced
        vlm.begin({})
    assert vars(layers[2])["forward"] is own and "forward" not in vars(layers[1])
    del layers[2].forward
    assert torch.equal(vlm.forward(x).logits, prefix.logits)


def test_copies_need_a_mask_of_true_and_false(vlm, x):
    run = vlm.begin(x)
    mask = run.layer_inputs[0]["attention_mask"]
    run.layer_inputs[0]["attention_mask"] = torch.where(mask, 0.0, -1e9)
    with pytest.raises(ModelError, match="last-token copies need the attention masks of torch"):
        vlm.branched(run, 2)


def test_no_hook_stays_behind(vlm, x, prefix):
    def fail(_resid):
        raise RuntimeError("on purpose")

    vlm.forward(x, [(0, push)])
    with pytest.raises(RuntimeError, match="on purpose"):
        vlm.forward(x, [(4, fail)])
    assert torch.equal(vlm.forward(x).logits, prefix.logits)


@pytest.mark.parametrize("slot", [-1, 9])
def test_a_slot_out_of_range(vlm, x, slot):
    for arguments in ({"edits": [(slot, push)]}, {"slots": [slot]}):
        with pytest.raises(ModelError, match=rf"^slot {slot} is out of range: 0 .. 8$"):
            vlm.forward(x, **arguments)


def test_a_padded_batch_equals_single_rows(vlm, trials, prefix):
    for row, trial in enumerate(trials):
        alone = vlm.forward(inputs(vlm, [trial]), slots=[5])
        assert_close(prefix.logits[row : row + 1], alone.logits, rtol=0, atol=1e-5)
        length = alone.resid[5].shape[1]
        assert_close(prefix.resid[5][row : row + 1, -length:], alone.resid[5], rtol=0, atol=1e-4)


def test_the_bridge_is_the_same_model(vlm, x, prefix):
    from transformers import LlavaForConditionalGeneration

    eager = LlavaForConditionalGeneration.from_pretrained(
        vlm.path, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    more = {k: v for k, v in x.items() if k != "input_ids"}
    with torch.no_grad():
        want = eager(**x).logits
        logits, cache = vlm.bridge.run_with_cache(x["input_ids"], **more)
    assert_close(logits, want, rtol=0, atol=1e-5)
    assert_close(logits[:, -1], prefix.logits, rtol=0, atol=1e-4)
    real = x["attention_mask"].bool()
    for slot in range(8):
        found = cache[f"blocks.{slot}.hook_in"]
        assert_close(found[real], prefix.resid[slot][real], rtol=1e-4, atol=1e-4)
    assert_close(cache["blocks.7.hook_out"][real], prefix.resid[8][real], rtol=1e-4, atol=1e-4)
    # an edit through the bridge is an edit here
    hooks = [("blocks.5.hook_in", lambda resid, hook: push(resid))]
    with torch.no_grad():
        edited = vlm.bridge.run_with_hooks(x["input_ids"], fwd_hooks=hooks, **more)
    assert_close(edited[:, -1], vlm.forward(x, [(5, push)]).logits, rtol=0, atol=1e-4)
    assert torch.equal(vlm.forward(x).logits, prefix.logits), "the bridge is a copy"
    assert vlm.model.config.text_config._attn_implementation == "sdpa"


# --- answers -------------------------------------------------------------------------


def spelled(vlm):
    """The same model with a tokenizer that knows four spellings of `red` and two of `blue`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "red", "Red", "\u2581red", "\u2581Red", "blue", "\u2581Blue", "light"]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    processor = organism.build_processor()
    processor.tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")
    return replace(vlm, tokenizer=processor.tokenizer)


def test_probabilities_sum_the_spellings(vlm):
    other = spelled(vlm)
    assert other.answer_ids("red") == [1, 2, 3, 4]
    assert other.answer_ids("Blue") == [5, 6]
    logits = torch.log(torch.tensor([[0.1, 0.2, 0.05, 0.15, 0.1, 0.25, 0.05, 0.1],
                                     [0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]])) + 7  # fmt: skip
    found = other.probabilities(logits, [["red", "blue"], ["light", "red"]])
    assert found == pytest.approx(np.array([[0.5, 0.3], [0.1, 0.4]]), abs=1e-6)
    for word in ("red light", "green"):
        with pytest.raises(ModelError, match=f"^'{word}' is not a single token of"):
            other.answer_ids(word)


def test_probabilities_of_the_models_own_words(vlm, prefix):
    p = prefix.logits.softmax(-1)
    found = vlm.probabilities(prefix.logits, [["red", "key"]] * len(p))
    expected = p[:, [vlm.words.index("red"), vlm.words.index("key")]]
    assert found == pytest.approx(expected.numpy(), abs=1e-6)


def test_decode_names_the_most_probable_word(vlm):
    logits = torch.zeros(2, len(vlm.words))
    logits[0, vlm.words.index("key")] = logits[1, vlm.words.index("brown")] = 1
    assert vlm.decode(logits) == ["key", "brown"]


def test_answer_is_the_argmax_of_the_plain_model(vlm, plain, trials, x):
    images, questions = [t.stimulus.image for t in trials], [t.question for t in trials]
    with torch.no_grad():
        best = plain(**x).logits[:, -1].argmax(-1).tolist()
    assert vlm.answer(images, questions) == [vlm.words[i] for i in best]
    assert vlm.answer(images, questions, batch=4) == [vlm.words[i] for i in best]


def test_describe_is_greedy(vlm, trials):
    images, questions = [t.stimulus.image for t in trials[:2]], ["Name the items."] * 2
    x, told = vlm.prepare(images, questions), [[], []]
    for _ in range(3):
        best = vlm.forward(x).logits.argmax(-1)
        for words, i in zip(told, best.tolist(), strict=True):
            words.append(vlm.words[i])
        x["input_ids"] = torch.cat([x["input_ids"], best[:, None]], 1)
        x["attention_mask"] = torch.ones_like(x["input_ids"])
    assert not {"</s>", "<pad>"} & {w for words in told for w in words}
    assert vlm.describe(images, questions, words=3) == [" ".join(words) for words in told]


@pytest.mark.parametrize("factor", [2, 7])
def test_an_exact_multiple_is_averaged_down(vlm, trials, factor):
    image = trials[4].stimulus.image
    large = image.resize((96 * factor, 96 * factor), Image.Resampling.NEAREST)
    assert np.array_equal(np.asarray(vlm.check_image(large)), trials[4].stimulus.pixels)
    questions = [trials[4].question]
    assert vlm.answer([large], questions) == vlm.answer([image], questions)
    fine = np.zeros((192, 192, 3), np.uint8)
    fine[::2, ::2] = 200  # one of four
    assert (np.asarray(vlm.check_image(fine)) == 50).all()


def test_images_of_other_kinds(vlm):
    gray = vlm.check_image(Image.new("L", (96, 96), 7))
    assert gray.mode == "RGB" and gray.getpixel((3, 4)) == (7, 7, 7)
    opaque = vlm.check_image(Image.new("RGBA", (96, 96), (1, 2, 3, 255)))
    assert opaque.getpixel((0, 0)) == (1, 2, 3)


# --- errors --------------------------------------------------------------------------


def canvas(*size):
    return Image.new("RGB", size or (96, 96))


@pytest.mark.parametrize(
    ("words", "images", "questions"),
    [
        ("takes images of 96 x 96 pixels or an exact multiple, got 100 x 96: crop or pad",
         [canvas(100, 96)], ["The object above the key is a(n) "]),
        ("exact multiple, got 48 x 48", [canvas(48, 48)], ["The object above the key is a(n) "]),
        ("exact multiple, got 192 x 96", [canvas(192, 96)], ["The object above the key is a(n) "]),
        ("exact multiple, got 96 x 0", [np.zeros((0, 96, 3), np.uint8)], ["key"]),
        ("expected a PIL image or a uint8 array .* got str", ["picture.png"], ["key"]),
        ("expected a PIL image or a uint8 array .* got ndarray", [np.zeros((96, 96, 3))], ["key"]),
        ("does not know the word 'banana'; its words are listed by `vlm.words`",
         [canvas()], ["The object above the banana is a(n) "]),
        ("does not know the word '<image>'", [canvas()], ["the key <image> "]),
        ("does not know the word '<pad>'", [canvas()], ["the <pad> "]),
        ("2 images but 1 questions", [canvas(), canvas()], ["key"]),
        ("0 images but 0 questions", [], []),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_one_line(vlm, words, images, questions):
    for do in (vlm.answer, vlm.prepare):
        with pytest.raises(ModelError, match=words) as error:
            do(images, questions)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("images", "questions"),
    [(canvas(), "The object above the key is a(n) "), ([canvas()] * 3, "key"), (canvas(), ["key"])],
)
def test_one_image_or_question_without_a_list(vlm, monkeypatch, images, questions):
    # as readers run it: the tests' own checker of annotations would speak first
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    for do in (vlm.answer, vlm.prepare):
        with pytest.raises(ModelError, match="^give a list of images and a list of questions"):
            do(images, questions)


# --- loading -------------------------------------------------------------------------


def listed(checkpoint, folder):
    """A copy of the checkpoint with a list of hashes, as the shipped models have."""
    import hashlib

    shutil.copytree(checkpoint, folder)
    digests = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}
    (folder / "hashes.json").write_text(json.dumps(digests))
    return folder


def truncate(file):
    file.write_bytes(file.read_bytes()[:-100])


def flip_a_bit(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize(
    ("damage", "word"),
    [(lambda f: f.unlink(), "missing"), (truncate, "truncated or altered"),
     (flip_a_bit, "truncated or altered")],
    ids=["missing", "truncated", "altered"],
)  # fmt: skip
def test_a_damaged_shipped_file_is_named(checkpoint, tmp_path, monkeypatch, name, damage, word):
    folder = listed(checkpoint, tmp_path / "mini")
    check_files(folder)
    damage(folder / name)
    with pytest.raises(ModelError, match=f"{name} is {word}: restore it with `git checkout") as e:
        check_files(folder)
    assert "\n" not in str(e.value)
    monkeypatch.setattr("dualmech.models.data_dir", lambda: tmp_path)
    with pytest.raises(ModelError, match=f"{name} is {word}"):
        dualmech.load("mini")


def test_a_shipped_model_loads_by_name(checkpoint, tmp_path, monkeypatch, vlm):
    listed(checkpoint, tmp_path / "mini-local")
    monkeypatch.setattr("dualmech.models.data_dir", lambda: tmp_path)
    loaded = dualmech.load("mini-local", device="cpu")
    assert loaded.name == "mini-local" and loaded.fingerprint == vlm.fingerprint
    with pytest.raises(ModelError, match=r"hashes\.json is missing: restore it"):
        dualmech.load("mini")


def test_a_damaged_list_of_hashes(checkpoint, tmp_path):
    folder = listed(checkpoint, tmp_path / "mini")
    truncate(folder / "hashes.json")
    with pytest.raises(ModelError, match=r"hashes\.json is truncated or altered: restore it"):
        check_files(folder)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "cannot load .*model.safetensors"),
        (lambda f: truncate(f / "model.safetensors"), "cannot load "),
        (lambda f: (f / "config.json").unlink(), "cannot read the configuration of "),
        (lambda f: (f / "config.json").write_text('{"model_type": "gpt2"}'),
         "is a 'gpt2' model; supported: llava, pixtral, llava_onevision, gemma3, "),
        (lambda f: (f / "config.json").write_text('{"model_type": "no-such"}'),
         "cannot read the configuration of "),
        (lambda f: (f / "processor_config.json").write_text("{"), "cannot load "),
    ],
    ids=["no weights", "truncated weights", "no config", "a text model", "an unknown family",
         "a broken processor"],
)  # fmt: skip
def test_a_folder_that_cannot_be_loaded_is_one_line(checkpoint, tmp_path, damage, words):
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    damage(folder)
    with pytest.raises(ModelError, match=words) as error:
        dualmech.load(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["minni", "no/such/folder", "/no/such/folder"])
def test_an_unknown_name(name):
    with pytest.raises(ModelError, match=f"^unknown model '{name}': use one of mini, mini-local, "):
        dualmech.load(name)


def test_a_hub_id_that_is_not_there(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="^cannot read the configuration of 'no/thing': ") as error:
        dualmech.load("no/thing")
    assert "\n" not in str(error.value)


def test_padding_is_on_the_left_whatever_the_checkpoint_says(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"padding_side": "right"}))
    vlm = dualmech.load(folder, device="cpu")
    x = vlm.prepare([canvas()] * 2, ["key", "The object above the key is a(n) "])
    assert x["attention_mask"][0, 0] == 0 and x["attention_mask"][0, -1] == 1


def test_precision(checkpoint, trials):
    vlm = dualmech.load(checkpoint, device="cpu", precision="bfloat16")
    run = vlm.forward(inputs(vlm, trials[:1]), slots=[0])
    assert run.resid[0].dtype == torch.bfloat16 and run.logits.dtype == torch.float32
    assert vlm.visual([trials[0].stimulus.image]).dtype == torch.float32  # to compute with


def test_load_is_on_the_package():
    assert dualmech.load is dualmech.models.load
    assert S.__name__ in {f"dualmech.{m}" for m in dir(dualmech)}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dualmech.nothing


def test_geometry_is_the_papers_or_fits_the_grid(vlm):
    assert vlm.geometry == S.MINI
    other = replace(vlm, grid=(24, 24), px=14)
    assert other.geometry == S.Geometry(24, 14, 4, 3)
    assert len(other.geometry.cells(False)) == 3
