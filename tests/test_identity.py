"""What a model is, for results that are kept: weights changed in place, and hooks of a reader."""

from copy import deepcopy
from dataclasses import replace
from functools import wraps

import pytest
import torch
from accelerate.hooks import ModelHook, add_hook_to_module

import dualmech
from dualmech import edits as E
from dualmech import stimuli as S
from dualmech import store
from vlms import identity


@pytest.fixture
def copy(vlm):
    return replace(vlm, model=deepcopy(vlm.model))


def test_fingerprint_is_of_the_weights(vlm, checkpoint, copy):
    again = dualmech.load(checkpoint, device="cpu")
    assert again.fingerprint == vlm.fingerprint == copy.fingerprint
    assert len(vlm.fingerprint) == 16 and int(vlm.fingerprint, 16)


def weight(vlm):
    return vlm.language_model.layers[7].mlp.down_proj.weight


@torch.no_grad()
def counted(vlm):
    weight(vlm)[0, 0] += 1


def loaded(vlm):
    state = vlm.model.state_dict()
    vlm.model.load_state_dict({name: w + 0.1 for name, w in state.items()})


def exchanged(vlm):
    vlm.language_model.layers[7].mlp.down_proj.weight = torch.nn.Parameter(weight(vlm) + 1)


def past_the_count(vlm):
    weight(vlm).data[0, 0] += 1


@pytest.mark.parametrize("change", [counted, loaded, exchanged, past_the_count])
@pytest.mark.parametrize("small", [True, False])
def test_weights_changed_in_place_are_noticed(copy, monkeypatch, change, small):
    """Of large ones, what PyTorch counts; what is written through `.data` it does not count."""
    monkeypatch.setattr(identity, "SMALL", identity.SMALL if small else 0)
    before = copy.fingerprint
    change(copy)
    assert (copy.fingerprint != before) == (small or change is not past_the_count)
    monkeypatch.undo()
    assert copy.fingerprint != before


def test_large_weights_are_hashed_once(copy, monkeypatch):
    monkeypatch.setattr(identity, "SMALL", 0)
    before, hashed = copy.fingerprint, []
    monkeypatch.setattr(identity.hashlib, "sha256", hashed.append)
    assert copy.fingerprint == before and not hashed


@pytest.fixture
def kept(copy, tmp_path, monkeypatch):
    """How many chunks of sweeps are kept, after one more."""
    monkeypatch.setenv("DUALMECH_CACHE", str(tmp_path / "cache"))
    pairs = S.swap_pairs("squares", "left", 1)

    def count():
        E.sweep(copy, pairs, E.swap("strip"), [1])
        return len(list(store.cache_dir().glob("*")))

    return count


def test_a_model_with_hooks_of_ones_own_is_not_kept(copy, kept):
    layer = copy.language_model.layers[2]

    def double(_module, _args, out):
        return 2 * out

    for hooked in (layer.register_forward_hook,
                   lambda fn: layer.mlp.register_forward_pre_hook(lambda *_: None),
                   lambda fn: copy.model.register_forward_hook(lambda *_: None)):  # fmt: skip
        with hooked(double):
            assert kept() == 0
    assert kept() == 1


class Louder(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return 2 * self.inner(x)


def test_a_model_whose_forward_is_ones_own_is_not_kept(copy, kept, monkeypatch):
    """On a module, on a class, or in a module of one's own, and whatever it calls itself."""
    layer = copy.language_model.layers[2]
    theirs, inner = layer.mlp.forward, layer.mlp

    @wraps(theirs)
    def louder(x):
        return 2 * theirs(x)

    with monkeypatch.context() as patch:
        patch.setattr(layer.mlp, "forward", louder)
        assert kept() == 0
    with monkeypatch.context() as patch:
        patch.setattr(type(layer.mlp), "forward", Louder.forward)
        assert identity.hooked(copy.model)
    layer.mlp = Louder(inner)
    assert kept() == 0
    layer.mlp = inner
    # as where a model is spread over devices: accelerate puts a forward of its own on the module
    add_hook_to_module(layer, ModelHook())
    assert "forward" in vars(layer) and kept() == 1
