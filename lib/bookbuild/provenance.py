"""Where a page's numbers come from: commit, weights, machine, versions, day."""

import hashlib
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

SHOWN = ("torch", "transformers")


def of(root: Path, notebook) -> dict:
    """The facts of a chapter that has just run on this machine."""
    code = "".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return {
        **commit(root),
        "weights": weights(root, code),
        "device": device(),
        "versions": {"Python": platform.python_version()} | {p: version(p) for p in SHOWN},
        "date": datetime.now(UTC).date().isoformat(),
    }


def commit(root: Path) -> dict:
    """{"commit": hash or "", "changed": whether what a chapter depends on differs from it}."""
    head = _said("git", "-C", str(root), "rev-parse", "HEAD")
    inputs = ("chapters", "lib", "data", "requirements.lock")
    changed = _said("git", "-C", str(root), "status", "--porcelain", "--", *inputs)
    return {"commit": head, "changed": bool(changed)}


def weights(root: Path, code: str) -> dict[str, str]:
    """{shipped model that the code names, or else the first: SHA-256 of its weights}."""
    files = {path.parent.name: path for path in sorted(root.glob("data/*/model.safetensors"))}
    named = {name for name in files if f'"{name}"' in code or f"'{name}'" in code}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in files.items()
        if name in (named or list(files)[:1])
    }


def device() -> str:
    """The GPU if there is one, else the model of the CPU."""
    gpu = _said("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").partition("\n")[0]
    return gpu or cpu()


def cpu() -> str:
    """The model name of this machine's CPU, or at least its architecture."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return _said("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()


def _said(*command: str) -> str:
    """What a command prints; nothing if it fails or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
