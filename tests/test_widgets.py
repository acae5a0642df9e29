"""The form for a picture of one's own, driven as a reader's clicks would."""

import io
from datetime import datetime

import pytest
from PIL import Image

from dualmech import stimuli as S
from live import widgets
from vlms.families import ModelError


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def uploaded(content, name="mine.png"):
    return {"name": name, "content": memoryview(content), "type": "", "size": len(content),
            "last_modified": datetime(2026, 1, 1)}  # fmt: skip


@pytest.mark.parametrize("form", ["ipywidgets 7", "ipywidgets 8"])
def test_an_upload_is_a_picture_in_either_version(form):
    content = png(Image.new("RGB", (30, 20), "red"))
    files = (uploaded(content),)
    if form == "ipywidgets 7":
        files = {"mine.png": {"metadata": {"name": "mine.png"}, "content": content}}
    assert widgets.received(files).size == (30, 20)
    assert widgets.received(type(files)()) is None


def test_what_is_no_picture_is_told_by_its_name():
    with pytest.raises(ModelError, match="^notes.txt is not an image that can be read"):
        widgets.received((uploaded(b"words", "notes.txt"),))


def test_the_form_answers_anew_when_a_reader_changes_it(vlm, capsys):
    first, other = S.trials("squares")[0], S.trials("objects")[5]
    form = widgets.ask_about(vlm, first.stimulus.image, first.question)
    upload, asked, fit, _ = form.children
    capsys.readouterr()

    def said(box, value):
        box.value = value
        return capsys.readouterr().out.splitlines()[-1]

    picture = other.stimulus.image.resize((200, 100))
    assert said(asked, other.question) == vlm.answer([first.stimulus.image], [other.question])[0]
    mine = (uploaded(png(picture)),)
    for box, value, how in ((upload, mine, "pad"), (fit, "stretch", "stretch")):
        assert said(box, value) == vlm.answer([picture], [other.question], fit=how)[0]
    with pytest.raises(ModelError) as error:
        vlm.answer([picture], ["Quo vadis "])
    assert said(asked, "Quo vadis") == str(error.value)
