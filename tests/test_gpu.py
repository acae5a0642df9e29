"""Every family on a device other than the CPU: nothing may be left on the wrong one."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from pretend_gpu import move, pretend_gpu

import dualmech
from bookbuild import tiny
from dualmech import edits as E
from dualmech import probes, stimuli
from vlms.checks import check_model


# LLaVA's classes as `mini` has them: a tiny model of the real grid takes much longer.  SmolVLM2 has
# the same parts as Idefics3.
@pytest.fixture(scope="module", params=["mini", *sorted({*tiny.FAMILIES} - {"llava", "smolvlm"})])
def cpu(request, tmp_path_factory):
    if request.param == "mini":
        return dualmech.load("mini", device="cpu")
    return dualmech.load(tiny.save(request.param, tmp_path_factory.mktemp("gpu")), device="cpu")


@pytest.fixture(scope="module")
def gpu(cpu):
    with pretend_gpu():
        vlm = replace(cpu, model=deepcopy(cpu.model))
        move(vlm.model)
        yield vlm


def pairs_on(vlm):
    return stimuli.swap_pairs("squares", "left", 1, seed=0, geometry=vlm.geometry)


def test_the_device_refuses_what_cuda_refuses():
    with pretend_gpu():
        there, here = torch.ones(3, device="pretend"), torch.ones(3)
        index = torch.zeros(1, dtype=torch.long)
        assert (there * here.sum()).device == there[index].device == there.device
        assert (there + there.cpu().to("pretend")).tolist() == [2, 2, 2]
        for wrong in (
            lambda: there.sum() * here,
            lambda: torch.stack([there, here]),
            lambda: here[index.to("pretend")],
            lambda: there.numpy(),
        ):
            with pytest.raises(RuntimeError):
                wrong()


def test_probes():
    with pretend_gpu():
        states = torch.randn(1, 12, 4).to("pretend")
        probe = probes.fit(states[0], torch.arange(12, device="pretend") % 3, steps=5)
        assert probe(states[0]).sum(-1).cpu().numpy() == pytest.approx(1, abs=1e-5)
        assert probes.heat_map(probe, states, (3, 4)).shape == (3, 4, 3)


def test_the_self_test_passes(gpu):
    assert gpu.device.type == "pretend"
    assert [row["ok"] for row in check_model(gpu)] == [True] * 5


def test_sweeps_are_those_of_the_cpu(cpu, gpu):
    pairs = pairs_on(cpu)
    trials, push = [pair.clean for pair in pairs], torch.randn(cpu.d_model)

    def measure(vlm):
        here = push.to(vlm.device)
        named = {
            "last": E.last_token, "strip": E.swap("strip"), "copy": E.copy([0, 5, -1]),
            "steer": E.steer([0, -1], here), "amplify": E.amplify(here[None], 3.0),
            "object": E.amplify(here[None], 3.0, "constant", "object", null=0),
        }  # fmt: skip
        found = {name: sweep.p for name, sweep in E.sweep(vlm, pairs, named, [1]).items()}
        removed = E.sweep(vlm, pairs, E.swap("object"), [1], visual=E.ordering_removed)
        read = E.read(vlm, trials, lambda t: [0, -1], [2]).cpu().numpy()
        return found | {"removed": removed.p, "read": read}

    ours, theirs = measure(gpu), measure(cpu)
    for name in theirs:
        assert ours[name] == pytest.approx(theirs[name], abs=1e-4), name


def test_words(gpu):
    trial = pairs_on(gpu)[0].clean
    images, questions = [trial.stimulus.image] * 2, [trial.question, "red"]
    assert len(gpu.answer(images, questions)) == 2
    assert len(gpu.describe(images, questions, words=2)) == 2
