"""How annotations are checked when the tests run: an int may stand for a float."""

from beartype import BeartypeConf, beartype

annotations = beartype(conf=BeartypeConf(is_pep484_tower=True))
