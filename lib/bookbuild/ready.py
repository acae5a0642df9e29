"""Make the environment `.venv` from the lock, once for each lock; run by make with any Python.

    python3 lib/bookbuild/ready.py .venv

Everything is installed by hash but torch: which build of it, for CUDA or the CPU, depends on the
index that the reader has chosen. pip takes no file in which some lines have hashes, so that this
installs in two steps. A second call waits for the first.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LOCK, PROJECT = "requirements.lock", "pyproject.toml"
OLDEST, NEWEST = (3, 11), (3, 13)


def split(lock: str) -> tuple[str, str]:
    """(the requirements with hashes, those without) of the text of a lock."""
    text = re.sub(r"(?m)^\s*#.*\n?", "", lock).replace("\\\n", " ")
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    hashed = [line for line in lines if "--hash=" in line]
    return "\n".join(hashed) + "\n", "\n".join(x for x in lines if x not in hashed) + "\n"


def make(venv: Path) -> None:
    """Create the environment and install the lock and the project in it."""
    python, pip = venv / "bin" / "python", [sys.executable, "-m", "pip"]
    if not python.exists():
        made = subprocess.run([sys.executable, "-m", "venv", str(venv)], capture_output=True)
        if made.returncode:  # Debian's Python may lack ensurepip
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    install = [*pip, "--python", str(python), "install", "--quiet"]
    hashed, free = split(Path(LOCK).read_text())
    with tempfile.TemporaryDirectory() as folder:
        for name, text, options in (
            ("hashed.txt", hashed, ["--require-hashes", "--no-deps"]),
            ("free.txt", free, []),  # what the hashed step has put there is not touched
        ):
            (Path(folder) / name).write_text(text)
            subprocess.run([*install, *options, "-r", f"{folder}/{name}"], check=True)
    subprocess.run([*install, "--no-deps", "-e", "."], check=True)


def check_python() -> None:
    version = sys.version_info[:2]
    if not OLDEST <= version <= NEWEST:
        sys.exit(
            f"Python 3.11, 3.12 or 3.13 is needed, and this is {'.'.join(map(str, version))}. "
            "Try: make book PYTHON=python3.11"
        )


def main(venv: Path) -> None:
    import fcntl  # not on Windows, where make is not either

    venv.mkdir(exist_ok=True)
    wanted = hashlib.sha256(Path(LOCK).read_bytes() + Path(PROJECT).read_bytes()).hexdigest()
    done = venv / ".ready"
    with open(venv / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists() and done.read_text() == wanted:
            return
        check_python()
        print(f"Preparing {venv} (once, some minutes)", flush=True)
        try:
            make(venv)
        except subprocess.CalledProcessError as error:
            sys.exit(f"{venv} could not be made: {' '.join(map(str, error.cmd[:6]))} ... failed")
        done.write_text(wanted)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
