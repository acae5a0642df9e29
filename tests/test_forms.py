"""Checkpoints as they lie on disk: the published forms of each family, and damage to them."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import warnings
from functools import partial, reduce
from pathlib import Path

import pytest
import torch
import transformers
from held import held
from PIL import Image
from safetensors.torch import load_file, save_file

import dualmech
from bookbuild import tiny
from dualmech import record
from vlms._paths import data_dir
from vlms.checks import check_model
from vlms.families import ModelError
from vlms.loading import SHIPPED, check_files

QUESTION = "What is to the left of the key?"


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def saved(family, tmp_path_factory):
    return tiny.save(family, tmp_path_factory.mktemp(family) / "saved")


@pytest.fixture(scope="module")
def first(saved):
    """What the checkpoint says as it was saved: (hash of its weights, logits)."""
    vlm = dualmech.load(saved, device="cpu", precision="float32")
    return vlm.fingerprint, logits(vlm)


def logits(vlm):
    return vlm.logits(vlm.prepare([Image.new("RGB", vlm.canvas[::-1], "red")], [QUESTION]))


def edit(path, change):
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


CONFIG, WORDS, PIXELS = "config.json", "tokenizer_config.json", "processor_config.json"


def settings(name: str, **more):
    """A change of settings: part__key=value."""

    def change(told):
        for key, value in more.items():
            *parts, last = key.split("__")
            reduce(dict.get, parts, told)[last] = value

    return lambda folder: edit(folder / name, change)


# Each form is made of a folder as `save_pretrained` of today writes it.


def shards(folder, family):
    """Many weight files and an index."""
    resave(folder, family, max_shard_size="100KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    assert (folder / "model.safetensors.index.json").exists()


def resave(folder, family, **how):
    cls = tiny.describe(family)[0]
    model = cls.from_pretrained(folder, dtype=torch.float32)
    for file in folder.glob("model*"):
        file.unlink()
    model.save_pretrained(folder, **how)


def old_config(folder, family):
    """`torch_dtype` for `dtype`, an old version, and an attention that is not here."""

    def change(told):
        told["torch_dtype"] = told.pop("dtype", "float32")
        told |= {"transformers_version": "4.45.0", "attn_implementation": "flash_attention_2",
                 "_attn_implementation_autoset": True}  # fmt: skip
        for part in [p for p in told.values() if isinstance(p, dict)]:
            if "dtype" in part:
                part["torch_dtype"] = part.pop("dtype")
            part["_attn_implementation_autoset"] = False

    edit(folder / CONFIG, change)


def without_template(folder) -> str:
    """Take the chat template out of wherever it is."""
    template = transformers.AutoTokenizer.from_pretrained(folder).chat_template
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    edit(folder / WORDS, lambda told: told.pop("chat_template", None))
    return template


def template_in_json(folder, family):
    """chat_template.json, as processors wrote it."""
    told = {"chat_template": without_template(folder)}
    (folder / "chat_template.json").write_text(json.dumps(told))


def template_in_tokenizer(folder, family):
    """The chat template in tokenizer_config.json."""
    settings(WORDS, chat_template=without_template(folder))(folder)


def named_templates(folder, family):
    """Several chat templates, one of them the default."""
    some = [{"name": "tool_use", "template": "x"},
            {"name": "default", "template": without_template(folder)}]  # fmt: skip
    settings(WORDS, chat_template=some)(folder)


def nested_processor(folder, family):
    """The image processor inside processor_config.json, as today's processors write it."""
    told = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    whole = {"image_processor": told, "processor_class": "Processor"}
    (folder / PIXELS).write_text(json.dumps(whole))


def fast_processor(folder, family):
    """An image processor named after its fast class."""

    def change(told):
        name = told["image_processor_type"].removesuffix("Pil").removesuffix("Fast")
        told["image_processor_type"] = f"{name}Fast"

    edit(folder / "preprocessor_config.json", change)


def no_pad_token(folder, family):
    """A tokenizer without a token for padding."""
    edit(folder / WORDS, lambda told: told.pop("pad_token", None))


FORMS = {
    "names of the hub": (partial(resave, save_original_format=True),),
    "names of the classes, in shards, chat_template.json, old configuration":
        (partial(resave, save_original_format=False), shards, template_in_json, old_config),
    "chat template in the tokenizer's file, processor in one file":
        (template_in_tokenizer, nested_processor),
    "several named templates, a fast processor, no token for padding":
        (named_templates, fast_processor, no_pad_token),
}  # fmt: skip


def test_every_published_form_gives_the_same_model(saved, first, family, tmp_path):
    for k, (name, changes) in enumerate(FORMS.items()):
        folder = shutil.copytree(saved, tmp_path / str(k))
        for change in changes:
            change(folder, family)
        vlm = dualmech.load(folder, device="cpu", precision="float32")
        assert vlm.fingerprint == first[0], name
        torch.testing.assert_close(logits(vlm), first[1])  # where weights lie in memory may matter
    held("forms", family, len(FORMS) + 1, "; ".join(["as saved today", *FORMS]))


def test_weights_in_half_precision_are_those_weights(saved, family, tmp_path):
    cls = tiny.describe(family)[0]
    for dtype in (torch.bfloat16, torch.float16)[: 1 + (family == "llava")]:
        folder = shutil.copytree(saved, tmp_path / str(dtype))
        model = cls.from_pretrained(folder, dtype=torch.float32).to(dtype)
        model.save_pretrained(folder)
        vlm = dualmech.load(folder, device="cpu", precision="float32")
        for name, weight in vlm.model.named_parameters():
            assert torch.equal(weight, model.get_parameter(name).float()), (dtype, name)


def test_weights_kept_in_4_bits_are_known_as_such(tmp_path):
    """As bitsandbytes saves them: the file says it, and so do the model and a result of it."""
    whole = tiny.save("llava", tmp_path / "whole")
    packed = dualmech.load(whole, device="cpu", precision="4bit")
    packed.model.save_pretrained(folder := tmp_path / "packed")
    for file in whole.iterdir():
        if file.name != CONFIG and not file.name.startswith("model"):
            shutil.copy(file, folder)
    vlm = dualmech.load(folder, device="cpu")
    assert vlm.quantised == "4bit" == record.provenance(vlm, 1.0)["quantised"]
    for name, weight in vlm.model.named_parameters():  # four bits to a number, two to a byte
        assert torch.equal(weight, packed.model.get_parameter(name)), name
    assert [row["ok"] for row in check_model(vlm)] == [True] * 4 + [None]
    with pytest.raises(ModelError, match="are kept in 4bit: leave precision out"):
        dualmech.load(folder, device="cpu", precision="float32")


def test_an_image_processor_by_the_name_of_its_family(tmp_path):
    """As many fine-tuned models say it: there is no class of this name."""
    folder = tiny.save("qwen2_5_vl", tmp_path / "saved")
    before = logits(dualmech.load(folder, device="cpu"))
    name = "Qwen2_5_VLImageProcessor"
    settings("preprocessor_config.json", image_processor_type=name)(folder)
    torch.testing.assert_close(logits(dualmech.load(folder, device="cpu")), before)


LOADS = """
import sys, dualmech
from vlms.families import ModelError
try:
    print(dualmech.load(sys.argv[1], device="cpu").grid)
except ModelError as error:
    print("told:", error)
"""


def test_a_torchvision_that_does_not_fit_is_named_or_not_needed(tmp_path):
    fails = "__version__ = '0.1'\nraise RuntimeError('operator torchvision::nms does not exist')"
    about = "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.1\n"
    for name, text in {"torchvision/__init__.py": fails,
                       "torchvision-0.1.dist-info/METADATA": about}.items():  # fmt: skip
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    lib = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(dualmech.__file__).parents[1]}"}
    command = [sys.executable, "-c", LOADS, "mini"]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ | lib)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout == "(12, 12)\n" or re.match(
        "told: cannot load 'mini': .*`pip uninstall torchvision` helps", run.stdout
    ), run.stdout


def test_a_home_folder_by_its_short_name(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").symlink_to(checkpoint)
    assert dualmech.load("~/model", device="cpu").grid == (12, 12)


# --- damage ---------------------------------------------------------------------------------


def damaged(weights: dict, rng) -> dict[str, dict]:
    """The weights with something wrong, {what: weights}."""
    names = sorted(weights)
    some = [n for n in names if weights[n].ndim > 1]
    part = {n.removeprefix("model.").split(".")[0] + "." for n in names}
    gone = {f"without {p}": {n: w for n, w in weights.items() if p not in n}
            for p in sorted(part) if any(p in n for n in names)}  # fmt: skip
    one, two = rng.choice(names), rng.choice(some)
    return gone | {
        "without one": {n: w for n, w in weights.items() if n != one},
        "one of another shape": weights | {two: weights[two][:, :-1].contiguous()},
        "one renamed": {n + "x" * (n == one): w for n, w in weights.items()},
        "one more": weights | {"model.layers.99.weight": torch.zeros(2)},
        "an adapter's": weights | {names[0] + ".lora_A.weight": torch.zeros(2)},
    }


def test_no_damage_to_the_weights_is_loaded(saved, family, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "damaged")
    path = folder / "model.safetensors"
    cases = damaged(load_file(path), random.Random(family))
    for some in cases.values():
        save_file(some, path, metadata={"format": "pt"})
        with pytest.raises(ModelError, match="the weights of .* do not fit its configuration"):
            dualmech.load(folder, device="cpu", precision="float32")
    held("damage", f"weights of {family} missing, renamed, too many or of another shape",
         len(cases), "refused, with the names of the weights")  # fmt: skip


def test_a_flipped_bit_in_a_shipped_file_is_noticed(tmp_path):
    rng, times = random.Random(0), 60
    for model in SHIPPED:
        folder = shutil.copytree(data_dir() / model, tmp_path / model)
        files = sorted(folder.iterdir())
        for _ in range(times):
            path = rng.choice(files)
            whole = path.read_bytes()
            bit, raw = rng.randrange(8 * len(whole)), bytearray(whole)
            raw[bit // 8] ^= 1 << bit % 8
            path.write_bytes(raw)
            with pytest.raises(ModelError):
                check_files(folder)
            path.write_bytes(whole)
        check_files(folder)
    count = times * len(SHIPPED)
    held("damage", "a bit flipped in a file of a shipped model", count, "refused, by name")


def packed(**how):
    return settings(CONFIG, quantization_config=how)


REFUSED = {
    "a pickle instead of safetensors": lambda f: (f / "model.safetensors").rename(
        f / "pytorch_model.bin"),
    "code of its own": settings(
        CONFIG, auto_map={"AutoConfig": "evil.Config"}, model_type="evil"),
    "AWQ": packed(quant_method="awq", bits=4),
    "GPTQ": packed(quant_method="gptq", bits=4),
    "compressed-tensors": packed(quant_method="compressed-tensors"),
    "bitsandbytes 8 bit": packed(quant_method="bitsandbytes", load_in_8bit=True),
    "a pointer of git-lfs": lambda f: (f / "model.safetensors").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    "an adapter alone": lambda f: (f / CONFIG).rename(f / "adapter_config.json"),
    "no tokenizer": lambda f: [p.unlink() for p in f.glob("tokenizer*")],
    "no image processor": lambda f: [p.unlink() for p in f.glob("*processor*")],
    "no chat template": without_template,
    "an index that names a file that is not there": lambda f: (
        (f / "model.safetensors").unlink(), (f / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {}, "weight_map": {"lm_head.weight": "a.safetensors"}}))),
    "a file where the folder should be": lambda f: (shutil.rmtree(f), f.write_text("")),
}  # fmt: skip


def refused(folder) -> str:
    """What `load` says of a folder that it refuses: a sentence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ModelError) as error:
            dualmech.load(folder, device="cpu")
    told = str(error.value)
    assert len(told.split()) > 5 and "\n" not in told, told
    return told


def test_what_is_no_checkpoint_says_what_to_do(checkpoint, tmp_path):
    (tmp_path / "evil.py").write_text("raise SystemExit")
    for what, change in REFUSED.items():
        folder = shutil.copytree(checkpoint, tmp_path / what)
        (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
        change(folder)
        refused(folder)
        assert not (tmp_path / "ran").exists(), what
    held("damage", ", ".join(REFUSED), len(REFUSED), "refused, and no code of theirs ran")


def deep(folder, name: str, key: str):
    """A file of settings in which a place is nested 5,000 times."""
    text = (folder / name).read_text().rstrip().removesuffix("}")
    (folder / name).write_text(f'{text}, "{key}": {"[" * 5000}{"]" * 5000}}}')


def again(folder, name: str, change):
    (folder / name).write_bytes(change((folder / name).read_bytes()))


def looped(path):
    path.unlink()
    path.symlink_to(path)


def more_words(folder):
    """A tokenizer with a word that the weights do not know."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["unheard-of"])
    tokenizer.save_pretrained(folder)


def weights(folder, change):
    some = load_file(folder / "model.safetensors")
    save_file(change(some), folder / "model.safetensors", metadata={"format": "pt"})


ODD = {
    "settings in UTF-16": lambda f: again(f, CONFIG, lambda raw: raw.decode().encode("utf-16")),
    "settings that are a list": lambda f: again(f, CONFIG, lambda raw: b"[" + raw + b"]"),
    "settings that are a number": lambda f: again(f, CONFIG, lambda raw: b"5"),
    "settings nested 5,000 times": lambda f: deep(f, CONFIG, "more"),
    "a tokenizer's settings nested 5,000 times": lambda f: deep(f, WORDS, "more"),
    "settings that link to themselves": lambda f: looped(f / CONFIG),
    "weights that link to themselves": lambda f: looped(f / "model.safetensors"),
    "a folder for settings": lambda f: ((f / CONFIG).unlink(), (f / CONFIG).mkdir()),
    "a width of 0": settings(CONFIG, text_config__hidden_size=0),
    "a width below 0": settings(CONFIG, text_config__hidden_size=-64),
    "a width of 10^12": settings(CONFIG, text_config__hidden_size=10**12),
    "a width in words": settings(CONFIG, text_config__hidden_size="128"),
    "another width than the weights'": settings(CONFIG, text_config__hidden_size=64),
    "a patch of no pixels": settings(CONFIG, vision_config__patch_size=0),
    "a canvas of no pixels": settings(CONFIG, vision_config__image_size=0),
    "a language model of another kind": settings(CONFIG, text_config__model_type="nonsense"),
    "no language model": settings(CONFIG, text_config="llama"),
    "no encoder": settings(CONFIG, vision_config=None),
    "an image token outside the vocabulary": settings(CONFIG, image_token_index=10**6),
    "an image token that is another word": settings(CONFIG, image_token_index=7),
    "a chat template that is a number": settings(WORDS, chat_template=5),
    "a chat template that cannot be read": settings(WORDS, chat_template="{% for %}"),
    "a chat template that refuses": settings(
        WORDS, chat_template="{{ raise_exception('no picture is taken') }}"),
    "a chat template without an image": settings(WORDS, chat_template="{{ messages[0].role }}"),
    "a chat template of two images": settings(WORDS, chat_template="<image><image>"),
    "named templates without a default": settings(WORDS, chat_template=[
        {"name": "a", "template": "x"}, {"name": "b", "template": "y"}]),
    "a tokenizer that is a list": lambda f: (f / "tokenizer.json").write_text("[]"),
    "a tokenizer that is empty": lambda f: (f / "tokenizer.json").write_text(""),
    "a tokenizer with a word that the weights do not know": more_words,
    "means of two colours": settings(PIXELS, image_processor__image_mean=[0.5, 0.5]),
    "a spread of zero": settings(PIXELS, image_processor__image_std=[0.0, 0.0, 0.0]),
    "an image processor without a name": settings(PIXELS, image_processor=None),
    "weights that are no numbers": lambda f: weights(f, lambda some: some | {
        k: w * float("nan") for k, w in some.items() if "q_proj" in k}),
    "weights without a size": lambda f: again(f, "model.safetensors", lambda raw: raw[:8]),
    "weights with a header of 10^18 bytes": lambda f: again(
        f, "model.safetensors", lambda raw: (10**18).to_bytes(8, "little") + raw[8:]),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_odd_settings_are_told_at_load(checkpoint, tmp_path, what):
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    (folder / "chat_template.jinja").unlink(missing_ok=True) if "template" in what else None
    ODD[what](folder)
    assert len(refused(folder)) < 900


def test_odd_settings_are_as_many_as_the_page_says():
    held("odd", "settings, templates, tokenizers and weights that do not fit each other", len(ODD),
         "refused at load, each case alone")  # fmt: skip


def test_names_that_are_no_names(monkeypatch):
    monkeypatch.setattr("jaxtyping.config.jaxtyping_disable", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    odd = ("", " ", "a\0b", "a/\ud800", "x" * 5000, "a/" + "x" * 300, "~nobody-here/x")
    for name in (*odd, b"x/y", None, 5):
        with pytest.raises(ModelError) as error:
            dualmech.load(name)
        assert "\n" not in str(error.value) and len(str(error.value).split()) > 4
