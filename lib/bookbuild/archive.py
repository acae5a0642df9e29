"""The pages as one zip, to hand on: it opens from a USB stick, without a network or Python.

`make archive` writes it, and beside it its SHA-256 as `sha256sum --check` reads it.
"""

import hashlib
import tomllib
import zipfile
from pathlib import Path

DAY = (1980, 1, 1, 0, 0, 0)  # of every file, so that the same pages make the same archive


def pack(root: Path) -> Path:
    """Pack the built pages of `root`; returns the path of the zip."""
    site = root / "_build" / "html"
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    name = f"dual-mechanisms-{version}"
    path = site.with_name(f"{name}.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in sorted(site.rglob("*")):
            if file.is_file() and file.name != ".buildinfo":
                inside = zipfile.ZipInfo(f"{name}/{file.relative_to(site).as_posix()}", DAY)
                inside.external_attr = 0o644 << 16
                inside.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(inside, file.read_bytes())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".zip.sha256").write_text(f"{digest}  {path.name}\n")
    return path


if __name__ == "__main__":
    made = pack(Path.cwd())
    print(f"Packed {made.relative_to(Path.cwd())} ({made.stat().st_size / 1e6:.1f} MB)")
