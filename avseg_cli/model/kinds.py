"""What the small model knows: kinds of sounds that it hears, kinds of things that it sees, and which go together.

Sounds and things are two lists: a person speaks, sings and coughs; a siren is an ambulance, a fire engine, a police
van. Things of a kind are ImageNet's classes of it, by number; kinds without a class are learnt from masks alone.
Sounds of a kind are AudioSet's events of it, as YAMNet numbers them; kinds without an event are learnt from recordings.
Both lists travel in the checkpoint's configuration, what belongs to what in its weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# kind of thing -> its ImageNet classes (ILSVRC 2012, in the usual order)
SEEN: dict[str, tuple[int, ...]] = {
    "person": (),
    "dog": (
        *range(151, 269),
        *range(273, 276),
    ),
    "cat": (*range(281, 286),),
    "wolf": (
        *range(269, 273),
        *range(277, 281),
    ),
    "lion": (*range(286, 294),),
    "bird": (
        *range(9, 24),
        *range(80, 97),
        100,
        *range(127, 147),
    ),
    "rooster": (
        7,
        8,
    ),
    "owl": (24,),
    "duck": (*range(97, 100),),
    "horse": (
        339,
        340,
    ),
    "cow": (*range(345, 348),),
    "sheep": (*range(348, 351),),
    "pig": (*range(341, 344),),
    "bear": (*range(294, 298),),
    "monkey": (*range(365, 385),),
    "elephant": (
        101,
        385,
        386,
    ),
    "frog": (*range(30, 33),),
    "insect": (*range(300, 327),),
    "acoustic_guitar": (
        402,
        420,
    ),
    "electric_guitar": (546,),
    "violin": (889,),
    "cello": (486,),
    "piano": (
        579,
        881,
    ),
    "organ": (687,),
    "drums": (541,),
    "cymbal": (),
    "flute": (
        558,
        683,
        699,
    ),
    "saxophone": (776,),
    "clarinet": (432,),
    "trumpet": (
        513,
        566,
        875,
    ),
    "harp": (594,),
    "accordion": (
        401,
        593,
    ),
    "mallets": (642,),
    "glockenspiel": (
        494,
        822,
    ),
    "bell": (
        442,
        494,
        577,
    ),
    "car": (
        436,
        468,
        479,
        511,
        581,
        609,
        627,
        656,
        661,
        717,
        817,
    ),
    "race_car": (
        573,
        751,
        817,
    ),
    "bus": (
        569,
        654,
        675,
        779,
        864,
        867,
        874,
    ),
    "siren": (
        407,
        555,
        734,
    ),
    "train": (
        466,
        547,
        565,
        705,
        820,
        829,
    ),
    "motorcycle": (
        665,
        670,
    ),
    "aeroplane": (
        404,
        895,
        908,
    ),
    "helicopter": (),
    "boat": (
        403,
        472,
        484,
        510,
        554,
        576,
        625,
        628,
        724,
        780,
        814,
        871,
        914,
    ),
    "tractor": (
        595,
        803,
        856,
        866,
    ),
    "chainsaw": (491,),
    "lawn_mower": (621,),
    "drill": (740,),
    "hammer": (587,),
    "vacuum": (882,),
    "typing": (
        508,
        620,
        681,
        810,
        878,
    ),
    "gun": (
        413,
        471,
        763,
        764,
    ),
    "clock": (
        409,
        530,
        531,
        826,
        892,
    ),
    "phone": (
        487,
        528,
        707,
    ),
    "whistle": (902,),
    "tabla": (541,),
}

INSTRUMENTS = (
    "acoustic_guitar", "electric_guitar", "violin", "cello", "piano", "organ", "drums", "tabla", "cymbal", "flute",
    "saxophone", "clarinet", "trumpet", "harp", "accordion", "mallets", "glockenspiel",
)  # fmt: skip

# kind of sound -> the things that make it, and how likely each is to be the one seen. Engines are easily taken for each
# other, and so are strings: what is seen decides. Music is somebody's instrument, where one is seen.
HEARD: dict[str, dict[str, float]] = {
    "speech": {"person": 1.0},
    "singing": {"person": 1.0},
    "laughing": {"person": 1.0},
    "crying": {"person": 1.0},
    "coughing": {"person": 1.0},
    "breathing": {"person": 1.0},
    "eating": {"person": 1.0},
    "clapping": {"person": 1.0},
    "dog": {"dog": 1.0, "wolf": 0.5},
    "cat": {"cat": 1.0, "lion": 0.3},
    "bird": {"bird": 1.0, "owl": 0.5, "duck": 0.5, "rooster": 0.5},
    "rooster": {"rooster": 1.0, "bird": 0.7},
    "crow": {"bird": 1.0},
    "duck": {"duck": 1.0, "bird": 0.7},
    "owl": {"owl": 1.0, "bird": 0.7},
    "horse": {"horse": 1.0},
    "cow": {"cow": 1.0, "sheep": 0.2},
    "sheep": {"sheep": 1.0, "cow": 0.2},
    "pig": {"pig": 1.0},
    "lion": {"lion": 1.0, "cat": 0.3},
    "elephant": {"elephant": 1.0},
    "frog": {"frog": 1.0},
    "insect": {"insect": 1.0},
    "wolf": {"wolf": 1.0, "dog": 0.7},
    "monkey": {"monkey": 1.0},
    "acoustic_guitar": {"acoustic_guitar": 1.0, "electric_guitar": 0.7, "cello": 0.3, "harp": 0.3, "violin": 0.2},
    "electric_guitar": {"electric_guitar": 1.0, "acoustic_guitar": 0.5, "cello": 0.2},
    "violin": {"violin": 1.0, "cello": 0.5},
    "cello": {"cello": 1.0, "violin": 0.5, "acoustic_guitar": 0.2},
    "piano": {"piano": 1.0, "organ": 0.3, "harp": 0.2, "mallets": 0.2},
    "organ": {"organ": 1.0, "piano": 0.4, "accordion": 0.3},
    "drums": {"drums": 1.0, "cymbal": 0.7, "tabla": 0.5},
    "tabla": {"tabla": 1.0, "drums": 1.0},
    "cymbal": {"cymbal": 1.0, "drums": 0.7},
    "flute": {"flute": 1.0, "clarinet": 0.3},
    "saxophone": {"saxophone": 1.0, "clarinet": 0.3, "trumpet": 0.3},
    "clarinet": {"clarinet": 1.0, "flute": 0.5, "saxophone": 0.3},
    "trumpet": {"trumpet": 1.0, "saxophone": 0.3},
    "harp": {"harp": 1.0, "acoustic_guitar": 0.3, "piano": 0.2},
    "accordion": {"accordion": 1.0, "organ": 0.3},
    "mallets": {"mallets": 1.0, "glockenspiel": 0.7},
    "glockenspiel": {"glockenspiel": 1.0, "mallets": 0.7},
    "bell": {"bell": 1.0},
    "car": {"car": 1.0, "race_car": 0.7, "bus": 0.4, "motorcycle": 0.3, "tractor": 0.3},
    "race_car": {"race_car": 1.0, "car": 0.7, "motorcycle": 0.4},
    "bus": {"bus": 1.0, "car": 0.5, "train": 0.3, "race_car": 0.3, "tractor": 0.3},
    "train": {"train": 1.0, "bus": 0.2},
    "motorcycle": {"motorcycle": 1.0, "race_car": 0.4, "car": 0.3},
    "siren": {"siren": 1.0, "car": 0.4, "bus": 0.4},
    "horn": {"car": 1.0, "bus": 0.7, "train": 0.5},
    "helicopter": {"helicopter": 1.0, "aeroplane": 0.5},
    "aeroplane": {"aeroplane": 1.0, "helicopter": 0.5},
    "boat": {"boat": 1.0},
    "chainsaw": {"chainsaw": 1.0, "lawn_mower": 0.5, "motorcycle": 0.4, "race_car": 0.4, "car": 0.3, "drill": 0.3},
    "lawn_mower": {"lawn_mower": 1.0, "tractor": 0.7, "chainsaw": 0.5, "motorcycle": 0.3, "car": 0.2},
    "drill": {"drill": 1.0, "chainsaw": 0.3},
    "hammer": {"hammer": 1.0},
    "vacuum": {"vacuum": 1.0},
    "typing": {"typing": 1.0},
    "gun": {"gun": 1.0},
    "clock": {"clock": 1.0},
    "phone": {"phone": 1.0},
    "whistle": {"whistle": 1.0},
    "music": dict.fromkeys(INSTRUMENTS, 0.3),
    "none": {},
}
NO_SOUND = "none"  # the kind of noises that no visible thing makes
VOICES = ("speech", "singing")  # kinds of sounds that come from a face

# kind of sound -> its events of AudioSet, in YAMNet's order
EVENTS: dict[str, tuple[int, ...]] = {
    "speech": (*range(0, 13), *range(63, 67)), "singing": (*range(24, 33), 233, 249, 250),
    "laughing": (*range(13, 19),), "crying": (*range(19, 23),), "coughing": (42, 43, 44, 45, 54),
    "breathing": (*range(36, 42),), "eating": (49, 50, 53), "clapping": (56, 58, 61, 62),
    "dog": (69, 70, 71, 73, 74, 75, 117), "cat": (*range(76, 81),), "bird": (97, 98, *range(106, 112), 116),
    "rooster": (*range(93, 97),), "crow": (112, 113), "duck": (*range(99, 103),), "owl": (114, 115),
    "horse": (82, 83, 84), "cow": (85, 86), "sheep": (90, 91, 92), "pig": (88, 89), "lion": (104, 105),
    "elephant": (), "frog": (127, 128), "insect": (*range(121, 127),), "wolf": (72,), "monkey": (),
    "acoustic_guitar": (134, 135, 138, 139, *range(141, 147)), "electric_guitar": (135, 136, 137, 140),
    "violin": (184, 185, 186), "cello": (184, 187, 188, 189), "piano": (147, 148, 149, 155), "organ": (150, 151, 152),
    "drums": (*range(156, 165), *range(168, 172)), "tabla": (165,), "cymbal": (166, 167, 172), "flute": (190, 191),
    "saxophone": (192,), "clarinet": (190, 193), "trumpet": (*range(180, 184),), "harp": (194,),
    "accordion": (203, 204, 205), "mallets": (174, 175, 177, 178), "glockenspiel": (174, 176),
    "bell": (*range(195, 203), 209), "car": (300, 301, *range(305, 309), 337, *range(344, 348)), "race_car": (309,),
    "bus": (310, 311, 315), "train": (*range(322, 329),), "motorcycle": (320,), "siren": (*range(316, 320), 390, 391),
    "horn": (302, 303, 304, 312), "helicopter": (333,), "aeroplane": (329, 330, 331, 332, 334),
    "boat": (*range(295, 300), 395), "chainsaw": (341,), "lawn_mower": (340,), "drill": (339, 414, 418, 419),
    "hammer": (412, 413, 432), "vacuum": (367, 371), "typing": (*range(378, 381), 409), "gun": (*range(421, 426),),
    "clock": (389, *range(400, 403)), "phone": (*range(383, 389),), "whistle": (396,), "music": (132,),
    "none": (*range(277, 294), 494, *range(507, 518)),
}  # fmt: skip


def members(kinds: Sequence[Sequence[int]], labels: int) -> Tensor:
    """The numbers of each kind's classes or events, of so many labels -> (labels, kinds), 1 where one is of a kind."""
    table = torch.zeros(labels, len(kinds))
    for column, numbers in enumerate(kinds):
        table[list(numbers), column] = 1
    return table


def relation(heard: Sequence[str] = tuple(HEARD), seen: Sequence[str] = tuple(SEEN)) -> Tensor:
    """(H, S): how likely a sound of a kind is made by a visible thing of a kind."""
    table = torch.zeros(len(heard), len(seen))
    for row, sound in enumerate(heard):
        for thing, likely in HEARD[sound].items():
            if thing in seen:
                table[row, list(seen).index(thing)] = likely
    return table
