"""A small LLaVA with random weights, saved and loaded as a reader's own model would be."""

import gc
import os

import live_cases
import pytest
import torch

import dualmech
import organism
from bookbuild import browser as chromium
from dualmech import stimuli


def pytest_collection_finish():
    """What is imported by now stays.  `load` collects garbage: it need not look there each time."""
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Nothing measured before may stand in for what a test measures."""
    patch = pytest.MonkeyPatch()
    patch.setenv("DUALMECH_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A checkpoint folder.  Its weights are so large that what one token holds shows far away."""
    folder = tmp_path_factory.mktemp("checkpoint") / "random"
    processor = organism.build_processor()
    model = organism.build_model(len(processor.tokenizer), seed=3)
    generator = torch.Generator().manual_seed(3)
    for name, weight in model.named_parameters():
        if "vision" in name and name.endswith("weight") and weight.ndim > 1:
            size = 0.08 if "patch" in name else 0.12
            weight.data = size * torch.randn(weight.shape, generator=generator)
        elif "projector" in name and name.endswith("weight"):
            weight.data = 0.3 * torch.randn(weight.shape, generator=generator)
        elif "q_proj" in name or "k_proj" in name:
            weight.data *= 2
        elif "v_proj" in name or "o_proj" in name:
            weight.data *= 2
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def vlm(checkpoint):
    return dualmech.load(checkpoint, device="cpu")


@pytest.fixture(scope="session")
def plain(checkpoint):
    """The same checkpoint as Hugging Face loads it, to compare with."""
    from transformers import LlavaForConditionalGeneration

    return LlavaForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def trials():
    """Six trials whose questions differ in length."""
    squares, objects = stimuli.trials("squares"), stimuli.trials("objects")
    return [squares[0], squares[130], squares[250], squares[470], objects[7], objects[1000]]


@pytest.fixture(scope="module")
def browser():
    """A chromium that sees what a reader sees; without one its tests are skipped, but not in CI."""
    if not chromium.found():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(chromium.INSTALL)
    with chromium.opened() as browser:
        yield browser


@pytest.fixture(scope="session")
def rounded(tmp_path_factory):
    """The shipped model with the weights of the page."""
    vlm = dualmech.load("mini", device="cpu")
    return live_cases.with_page_weights(vlm, tmp_path_factory.mktemp("rounded"))


@pytest.fixture(scope="session")
def cases(rounded):
    """108 runs of it, most with edits: each kind twelve times."""
    return live_cases.make(rounded, 108)
