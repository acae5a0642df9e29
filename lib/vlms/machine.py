"""`ready()` for the set-up cell of every chapter; free memory; batches that fit."""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

SHOWN = ("torch", "transformers", "transformer-lens")
SPARE = 1.1  # times its weights is what a model needs
GIB = 2**30
OUT_OF_MEMORY = ("allocate memory", "could not create a primitive", "could not execute a primitive")
# Bytes of residual, about what a core's cache holds: the sweeps of `bookbuild.bench` took a fifth
# longer in batches of 24 and more on a CPU with 1 MiB of it.
CACHE = 5 * 2**18
CGROUP = "/sys/fs/cgroup/memory"  # limit, use, and what of it can be had back; version 2, then 1
CONTAINER = (
    (f"{CGROUP}.max", f"{CGROUP}.current", f"{CGROUP}.stat", "inactive_file"),
    (f"{CGROUP}/memory.limit_in_bytes", f"{CGROUP}/memory.usage_in_bytes",
     f"{CGROUP}/memory.stat", "total_inactive_file"),
)  # fmt: skip
BFLOAT16 = (8, 0)  # the first CUDA compute capability with bfloat16 (CUDA programming guide)


class SetupError(ValueError):
    """A machine that cannot run the book as it is; the message says what to do."""


def ready() -> None:
    """Install what the book needs and this machine lacks, change nothing else, show `facts`.

    Raises SetupError, before anything is installed, if a package that is there lies outside the
    book's range, or if pip cannot install what is missing beside the packages that are there.
    """
    missing, wrong = compare(needs(), installed())
    if wrong:
        raise SetupError(
            f"{'; '.join(wrong)}: on Colab choose the latest runtime version, elsewhere install "
            "that range with pip; then restart the kernel"
        )
    if missing:
        install(missing)
    from IPython.display import Markdown, display

    display(Markdown(facts(installed())))


# --- packages ------------------------------------------------------------------------


def needs() -> list[str]:
    """The project's requirements; none in a checkout that is on the path but not installed."""
    try:
        return metadata.requires("dualmech") or []
    except metadata.PackageNotFoundError:
        return []


def installed() -> dict[str, str]:
    """{normalized name: version} of every package that this Python finds, the first of each."""
    found = {}
    for one in metadata.distributions():
        try:
            found.setdefault(canonicalize_name(one.metadata["Name"]), str(Version(one.version)))
        except (InvalidVersion, TypeError):  # a broken folder, which pip skips as well
            continue
    return found


def compare(requirements: list[str], there: dict[str, str]) -> tuple[list[str], list[str]]:
    """Which requirements have no package there, and in words which packages are out of range."""
    missing, wrong = [], []
    for requirement in map(Requirement, requirements):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = there.get(canonicalize_name(requirement.name))
        if version is None:
            missing.append(str(requirement))
        elif not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} {version} is here and the book needs {requirement}")
    return missing, wrong


def install(requirements: list[str]) -> None:
    """pip install, held to the exact versions of all that is there.

    Raises SetupError with pip's first error if that cannot be done; nothing has changed then.
    """
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "held.txt"
        held.write_text("".join(f"{name}=={v}\n" for name, v in installed().items()))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(held)]
        done = subprocess.run([*pip, *requirements], capture_output=True, text=True)
    if done.returncode:
        said = [s for s in done.stderr.splitlines() if "ERROR" in s] or done.stderr.splitlines()
        raise SetupError(
            f"pip cannot add {', '.join(requirements)} to what is installed here "
            f"({' '.join(said[:1])}): on Colab choose the latest runtime version, elsewhere "
            "use a fresh environment"
        )
    importlib.invalidate_caches()


# --- memory and precision ------------------------------------------------------------


def check_device(device: str) -> None:
    """Raises SetupError for a device that PyTorch cannot use here."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        told = str(error).splitlines()[0]
        raise SetupError(f"device {device!r} cannot be used here, try 'cpu': {told}") from None


def free_memory(device) -> int:
    """Bytes that are free on a torch.device now, or that PyTorch holds there and does not use."""
    import psutil
    import torch

    if device.type != "cuda":
        return min(psutil.virtual_memory().available, _container())
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + idle


def _container() -> int:
    """Bytes that this container may still take (control groups of Linux); else a great many."""
    for limit, used, stat, cached in CONTAINER:
        try:
            most, now = (int(Path(file).read_text()) for file in (limit, used))
            facts = dict(line.split() for line in Path(stat).read_text().splitlines())
        except (OSError, ValueError):  # no such group, or no limit ("max")
            continue
        return max(0, most - now + int(facts.get(cached, 0)))
    return sys.maxsize


def let_go() -> None:
    """Give back the memory of models and states that nothing refers to any more."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def in_batches(items: list, compute: Callable[[list], object], size: int, what: str) -> list:
    """[compute(some), ...] over batches of `size` items, or of half as many where memory ends.

    what: the model, for the message.  Raises RuntimeError if a single item does not fit, and
    ValueError for batches without an item.
    """
    if size < 1:
        raise ValueError(f"a batch of {size} items: give at least 1")
    while True:
        try:
            return [compute(items[i : i + size]) for i in range(0, len(items), size)]
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            if size == 1:
                raise RuntimeError(
                    f"one item does not fit: load {what} in a smaller precision, or take a "
                    "smaller model"
                ) from None
            size = min(size, len(items)) // 2
        let_go()  # after the exception, which holds what was computed


def _out_of_memory(error: Exception) -> bool:
    """On a CPU, PyTorch says it in words, or its oneDNN in others."""
    import torch

    kinds = (torch.OutOfMemoryError, MemoryError)
    return isinstance(error, kinds) or any(words in str(error) for words in OUT_OF_MEMORY)


def batch_size(vlm) -> int:
    """How many items to run at once: as many as fit in half of the free memory and, on a CPU, no
    more than are quick."""
    config = vlm.model.config.get_text_config()
    seq = vlm.grid[0] * vlm.grid[1] + 64  # an item's visual tokens and a question
    resid = seq * vlm.d_model * vlm.model.dtype.itemsize
    attention = 3 * 4 * config.num_attention_heads * seq * seq
    item = 14 * resid + attention + _encoding(vlm)  # two runs, a copy, one layer's own
    fits = max(1, int(free_memory(vlm.device) / 2 // item))
    return fits if vlm.device.type != "cpu" else min(fits, max(4, CACHE // resid))


def _encoding(vlm) -> int:
    """Bytes of an image in one layer of the encoder: its states, and its MLP before and after."""
    vision = vlm.model.config.vision_config
    patch = vision.patch_size  # some families give both sides
    high, wide = (patch, patch) if isinstance(patch, int) else patch
    patches = vlm.canvas[0] * vlm.canvas[1] // (high * wide)
    width = getattr(vision, "embed_dim", vision.hidden_size)  # Qwen2-VL's hidden size is the LM's
    inner = getattr(vision, "intermediate_size", 4 * width)
    return patches * (6 * width + 2 * inner) * vlm.model.dtype.itemsize


def has_bfloat16(capability: tuple[int, int] | None) -> bool:
    """Whether a GPU computes in bfloat16 itself; older ones imitate it, slowly."""
    return capability is not None and capability >= BFLOAT16


def precision(weights: int, free: int, capability: tuple[int, int] | None = None) -> str:
    """How to hold a model: "bfloat16" where float32 does not fit and the GPU has it, or "float32".

    weights: bytes of the parameters in float32; free: bytes free where the model shall be;
    capability: a GPU's CUDA compute capability, None for a CPU.  Never float16, in which some
    language models overflow.  Whether it fits then is for `loading.check_memory` to say.
    """
    return "bfloat16" if SPARE * weights > free and has_bfloat16(capability) else "float32"


def facts(there: dict[str, str]) -> str:
    """One line: versions, memory, and the largest model that `precision` would let in.

    there: from `installed()`.
    """
    import torch

    versions = ", ".join(f"{name} {there.get(name, 'missing')}" for name in SHOWN)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    capability = torch.cuda.get_device_capability() if gpu else None
    free = free_memory(torch.device("cuda" if gpu else "cpu")) / GIB
    most = free * GIB / SPARE / 4 / 1e9
    halves = f", {2 * most:.1f} billion in bfloat16" if has_bfloat16(capability) else ""
    return (
        f"Python {sys.version.split()[0]}, {versions}. {gpu or 'No GPU'}, {free:.1f} GiB free: "
        f"room for {most:.1f} billion parameters in float32{halves}."
    )
