"""Exercises of chapter 13: the solution passes, and each wrong answer is told what is wrong."""

from test_exercises import answers


def differences(one, other, default):
    return sorted(k for k in default if (default | one)[k] != (default | other)[k])


WRONG_DIFFERENCES = {
    "not done yet": lambda one, other, default: ...,
    "give a list of names": lambda one, other, default: len(differences(one, other, default)),
    "not their values": lambda one, other, default: [
        (one.get(k), other[k]) for k in differences(one, other, default)
    ],
    "`layers` is named": lambda one, other, default: sorted(
        k for k in other if one.get(k) != other[k]
    ),
    "`gap` is missing": lambda one, other, default: sorted(
        k for k in one if k in other and one[k] != other[k]
    ),
    "the seed is named": lambda one, other, default: sorted(default),
    "objective: the values differ": lambda one, other, default: [
        k for k in differences(one, other, default) if k != "objective"
    ],
    "not sorted": lambda one, other, default: differences(one, other, default)[::-1],
    "with the two exchanged": lambda one, other, default: sorted(
        k for k, value in other.items() if (default | one)[k] != value
    ),
}


def leader(mirror, own):
    if mirror["low"] > 0.5 > own["high"]:
        return "vectors"
    return "places" if mirror["high"] < 0.5 < own["low"] else "neither"


def turned(mirror, own):
    return {"vectors": "places", "places": "vectors"}.get(leader(mirror, own), "neither")


WRONG_LEADER = {
    "not done yet": lambda mirror, own: None,
    "one of vectors, places, neither": lambda mirror, own: "the encoder",
    "leaders are exchanged": turned,
    "the vectors lead, not 'neither'": lambda mirror, own: "neither",
    "places lead, not 'neither'": lambda mirror, own: (
        "vectors" if mirror["low"] > 0.5 > own["high"] else "neither"
    ),
    "stays in both conflicts": lambda mirror, own: (
        "vectors" if mirror["low"] > 0.5 else "places" if mirror["high"] < 0.5 else "neither"
    ),
    "flips in both conflicts": lambda mirror, own: (
        "vectors" if mirror["low"] > 0.5 else "places" if own["low"] > 0.5 else "neither"
    ),
    "an interval that holds one half": lambda mirror, own: (
        "vectors"
        if mirror["value"] > 0.5 > own["value"]
        else "places"
        if mirror["value"] < 0.5 < own["value"]
        else "neither"
    ),
}


def counted(place=0, of=lambda named, trios: (named[:, None] == trios).any(1)):
    def beyond_the_bag(named, trios):
        return (named == trios[:, place])[of(named, trios)].float().mean()

    return beyond_the_bag


WRONG_SHARE = {
    "not done yet": lambda named, trios: ...,
    "the share of all tokens": counted(of=lambda named, trios: named >= 0),
    "of these, count the first": lambda named, trios: (
        (named[:, None] == trios).any(1).float().mean()
    ),
    "that counts the last item": counted(place=2),
    "a count, not a share": lambda named, trios: (named == trios[:, 0]).sum(),
    "divides by those that are wrong": lambda named, trios: (
        (named == trios[:, 0]).sum() / (named[:, None] == trios[:, 1:]).any(1).sum()
    ),
    "six name one of the three": counted(place=1),
}


WRONG = {"13.1": WRONG_DIFFERENCES, "13.2": WRONG_LEADER, "13.3": WRONG_SHARE}
RIGHT = {
    "13.1": [differences],
    "13.2": [leader],
    "13.3": [counted()],
}
test_a_wrong_answer_is_told, test_a_right_answer_is_taken = answers(WRONG, RIGHT)
