"""Makes assets/kernel.js from assets/mm.wat: `python -m live kernel` (`pip install wasmtime`)."""

import base64
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
HEAD = b"\0asm\1\0\0\0"


def assembled() -> bytes:
    """The WebAssembly module of mm.wat, without the names of its variables."""
    from wasmtime import wat2wasm

    return _without_names(bytes(wat2wasm((ASSETS / "mm.wat").read_text())))


def source(module: bytes) -> str:
    """The text of kernel.js."""
    return (
        "// mm.wat, assembled by `python -m live kernel`; a test holds the two together.\n"
        f'export const KERNEL =\n  "{base64.b64encode(module).decode()}";\n'
    )


def _without_names(module: bytes) -> bytes:
    """The module less its custom sections (id 0), which only debuggers read."""
    at, kept = len(HEAD), [HEAD]
    while at < len(module):
        size = shift = 0
        end = at + 1
        while True:  # the section's length, seven bits a byte, lowest first
            byte = module[end]
            size, shift, end = size | (byte & 127) << shift, shift + 7, end + 1
            if byte < 128:
                break
        if module[at]:
            kept.append(module[at : end + size])
        at = end + size
    return b"".join(kept)
