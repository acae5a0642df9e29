import json
import time
from datetime import date

import numpy as np
import pytest
import torch

import dualmech
from dualmech import metrics, results


def test_a_result_comes_back_as_it_was(tmp_path, vlm):
    values = {"rows": [metrics.share([True, False]), {"met": None, "where": "left – right"}]}
    source = results.provenance(vlm, 12.345, seed=3)
    path = tmp_path / "mini" / "new" / "strips.json"
    assert results.save(path, "strips", values, source) == path
    assert results.read(path) == {"experiment": "strips", "provenance": source, "values": values}
    assert results.read(str(path)) == results.read(path)
    assert path.read_text().endswith("}\n")


def test_provenance(vlm):
    source = results.provenance(vlm, 12.345, seed=3)
    assert source["model"] == vlm.name and source["weights"] == vlm.fingerprint
    assert source["dualmech"] == dualmech.__version__ and source["torch"] == torch.__version__
    assert source["precision"] == "float32" and source["device"].startswith("cpu (")
    assert source["seconds"] == 12.3 and source["seed"] == 3
    assert abs((date.today() - date.fromisoformat(source["date"])).days) <= 1
    assert set(source) > {"transformers"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read the result {path}: "),
        ("{", "cannot read the result {path}: "),
        ("7", "cannot read the result {path}: "),
        ("[]", "the result {path} lacks experiment, provenance, values"),
        ('{"experiment": "x", "values": {}}', "the result {path} lacks provenance"),
    ],
    ids=["missing", "broken", "a number", "a list", "no provenance"],
)
def test_a_malformed_file_is_named(tmp_path, content, words):
    path = tmp_path / "strips.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError) as error:
        results.read(path)
    assert str(error.value).startswith(words.format(path=path)) and "\n" not in str(error.value)


def test_what_json_cannot_hold_is_refused_whole(tmp_path):
    path = tmp_path / "strips.json"
    results.save(path, "strips", {"n": 1}, {})
    with pytest.raises(TypeError):
        results.save(path, "strips", {"n": np.arange(3)}, {})
    assert json.loads(path.read_text())["values"] == {"n": 1}


def test_the_timer_counts_its_block():
    began = time.perf_counter()
    with results.timer() as clock:
        while time.perf_counter() < began + 0.02:
            pass
    assert 0 < clock.seconds <= time.perf_counter() - began
