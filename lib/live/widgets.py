"""A form for a running kernel: ask the loaded model, whichever it is, about a picture of yours."""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

from vlms import pictures
from vlms.families import ModelError

from .library import VLM


def ask_about(vlm: VLM, picture: Image.Image, question: str):
    """Upload a picture, write a question, choose the fit: the answer follows (ipywidgets).

    picture, question: what stands there at first.  On a page without a kernel, nothing is seen.
    """
    import ipywidgets

    fits = [*pictures.FITS, *(["native"] * vlm.family.native)]
    upload = ipywidgets.FileUpload(accept="image/*", description="Your picture")
    asked = ipywidgets.Text(question, description="Question", continuous_update=False)
    fit = ipywidgets.Dropdown(options=fits, description="Fit")

    def answered(files, question, fit):
        try:
            mine = received(files) or picture
            word = vlm.answer([mine], [question.rstrip() + " "], fit=fit)[0]
        except ModelError as error:
            return print(error)
        seen = mine if fit == "native" else pictures.fitted(mine, vlm.canvas, fit)
        from IPython.display import display

        display(pictures.upright(seen))
        print(word)

    out = ipywidgets.interactive_output(answered, {"files": upload, "question": asked, "fit": fit})
    return ipywidgets.VBox([upload, asked, fit, out])


def received(files) -> Image.Image | None:
    """The last uploaded picture, None before the first.

    files: what a FileUpload holds, a dict of files in ipywidgets 7 (Colab's), a tuple from 8 on.
    Raises ModelError for what is no picture.
    """
    files = list(files.values() if isinstance(files, dict) else files)
    if not files:
        return None
    name = files[-1].get("name") or files[-1]["metadata"]["name"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture"
        path.write_bytes(files[-1]["content"])
        try:
            return pictures.opened(path)
        except ModelError as error:
            raise ModelError(str(error).replace(str(path), name)) from None
