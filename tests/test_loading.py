"""`load`: a shipped model, a folder or a hub id, with all that can be wrong with it."""

import hashlib
import json
import shutil

import pytest
import torch
from PIL import Image

import dualmech
from dualmech import edits as E
from vlms import loading, machine
from vlms.families import HUB, ModelError
from vlms.loading import check_files, check_memory, weight_bytes


def listed(checkpoint, folder):
    """A copy of the checkpoint with a list of hashes, as the shipped models have."""
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


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("model.safetensors", lambda f: f.unlink(), "is missing: restore it with `git checkout"),
        ("config.json", truncate, "is truncated or altered: restore it with `git checkout"),
        ("tokenizer.json", flip_a_bit, "is truncated or altered: restore it with `git checkout"),
        ("more.json", lambda f: f.write_text("{}"), "is not part of the shipped model: remove it"),
        ("hashes.json", truncate, "is truncated or altered: restore it"),
        ("hashes.json", lambda f: f.unlink(), "is missing: restore it"),
    ],
)
def test_a_damaged_shipped_file_is_named(checkpoint, tmp_path, monkeypatch, name, damage, words):
    folder = listed(checkpoint, tmp_path / "mini")
    check_files(folder)
    damage(folder / name)
    monkeypatch.setattr("vlms.loading.data_dir", lambda: tmp_path)
    with pytest.raises(ModelError, match=f"{name} {words}") as error:
        dualmech.load("mini")
    assert "\n" not in str(error.value)


def test_a_shipped_model_loads_by_name(checkpoint, tmp_path, monkeypatch, vlm):
    listed(checkpoint, tmp_path / "mini-local")
    monkeypatch.setattr("vlms.loading.data_dir", lambda: tmp_path)
    loaded = dualmech.load("mini-local", device="cpu")
    assert loaded.name == "mini-local" and loaded.fingerprint == vlm.fingerprint


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "cannot load .*model.safetensors"),
        (lambda f: (f / "config.json").unlink(), "cannot read the configuration of "),
        (lambda f: (f / "config.json").write_text('{"model_type": "gpt2"}'),
         "is a 'gpt2' model; supported: llava, pixtral, llava_onevision, gemma3, "),
        (lambda f: (f / "config.json").write_text('{"model_type": "no-such"}'),
         "cannot read the configuration of "),
        (lambda f: (f / "processor_config.json").write_text("{"), "cannot load "),
    ],
    ids=["no weights", "no config", "a text model", "an unknown family", "a broken processor"],
)  # fmt: skip
def test_a_folder_that_cannot_be_loaded_is_one_line(checkpoint, tmp_path, damage, words):
    folder = shutil.copytree(checkpoint, tmp_path / "model")
    damage(folder)
    with pytest.raises(ModelError, match=words) as error:
        dualmech.load(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["minni", "no/such/folder", "/no/such/folder", "~/other"])
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
    x = vlm.prepare([Image.new("RGB", (96, 96))] * 2, ["key", "The object above the key is a(n) "])
    assert x["attention_mask"][0, 0] == 0 and x["attention_mask"][0, -1] == 1


# --- memory and precision --------------------------------------------------------------


def test_the_precision_that_fits_is_chosen_and_measures_in_float32(checkpoint, trials, monkeypatch):
    """With a GPU's memory and abilities told, and the CPU to hold it."""
    asked = []
    monkeypatch.setattr(machine, "precision", lambda *facts: asked.append(facts) or "bfloat16")
    vlm = dualmech.load(checkpoint, device="cpu")
    assert vlm.model.dtype == torch.bfloat16
    ((weights, free, capability),) = asked
    assert weights == 4 * sum(p.numel() for p in vlm.model.parameters())
    assert free > 2**20 and capability is None
    x = E.inputs(vlm, trials[:1])
    assert vlm.start(x).resid.dtype == torch.bfloat16 and vlm.logits(x).dtype == torch.float32
    assert vlm.visual([trials[0].stimulus.image]).dtype == torch.float32  # to compute with
    assert dualmech.load(checkpoint, device="cpu", precision="float32").model.dtype == torch.float32
    assert len(asked) == 1


def test_too_little_memory_says_what_fits(checkpoint, vlm, monkeypatch):
    config, family = vlm.model.config, vlm.family
    need = 1.1 * weight_bytes(config, family, "bfloat16")
    with pytest.raises(ModelError) as error:
        check_memory("owner/name", config, family, "float32", int(need) + 1)
    assert "owner/name needs" in str(error.value) and "load it in bfloat16" in str(error.value)
    with pytest.raises(ModelError, match="no precision of it fits"):
        check_memory("owner/name", config, family, "float32", 10)
    check_memory("owner/name", config, family, "float32", 10 * machine.GIB)
    monkeypatch.setattr(loading, "free_memory", lambda device: 10)
    with pytest.raises(ModelError, match="needs .* GiB in float32, but 0.0 GiB are free"):
        dualmech.load(checkpoint, device="cpu")


def test_4bit_needs_its_package(checkpoint, monkeypatch):
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="pip install bitsandbytes"):
        dualmech.load(checkpoint, device="cpu", precision="4bit")


def test_revisions_are_pinned():
    for name, (revision, billions) in HUB.items():
        assert name.count("/") == 1 and len(revision) == 40 and int(revision, 16)
        assert 0 < billions < 20
