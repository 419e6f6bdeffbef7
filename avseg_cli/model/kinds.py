"""What the small model knows: kinds of sounds that it hears, kinds of things that it sees, and which go together.

Sounds and things are two lists: a person speaks, sings and coughs; a siren is an ambulance, a fire engine, a police
van. Things of a kind are ImageNet's classes of it, by number; kinds without a class are learnt from masks alone.
Both lists travel in the checkpoint's configuration, the relation in its weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from avseg_cli.model.efficientnet import CLASSES

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

# kind of sound -> the things that make it, and how likely each is to be the one seen
HEARD: dict[str, dict[str, float]] = {
    "speech": {"person": 1.0},
    "singing": {"person": 1.0},
    "laughing": {"person": 1.0},
    "crying": {"person": 1.0},
    "coughing": {"person": 1.0},
    "dog": {"dog": 1.0, "wolf": 0.5},
    "cat": {"cat": 1.0, "lion": 0.3},
    "bird": {"bird": 1.0, "owl": 0.5, "duck": 0.5, "rooster": 0.5},
    "rooster": {"rooster": 1.0, "bird": 0.7},
    "crow": {"bird": 1.0},
    "duck": {"duck": 1.0, "bird": 0.7},
    "owl": {"owl": 1.0, "bird": 0.7},
    "horse": {"horse": 1.0},
    "cow": {"cow": 1.0},
    "sheep": {"sheep": 1.0},
    "pig": {"pig": 1.0},
    "lion": {"lion": 1.0, "cat": 0.3},
    "elephant": {"elephant": 1.0},
    "frog": {"frog": 1.0},
    "insect": {"insect": 1.0},
    "wolf": {"wolf": 1.0, "dog": 0.7},
    "monkey": {"monkey": 1.0},
    "acoustic_guitar": {"acoustic_guitar": 1.0, "electric_guitar": 0.7},
    "electric_guitar": {"electric_guitar": 1.0, "acoustic_guitar": 0.5},
    "violin": {"violin": 1.0, "cello": 0.3},
    "cello": {"cello": 1.0, "violin": 0.3},
    "piano": {"piano": 1.0, "organ": 0.3},
    "organ": {"organ": 1.0, "piano": 0.3},
    "drums": {"drums": 1.0, "cymbal": 0.7, "tabla": 0.5},
    "tabla": {"tabla": 1.0, "drums": 1.0},
    "cymbal": {"cymbal": 1.0, "drums": 0.7},
    "flute": {"flute": 1.0, "clarinet": 0.3},
    "saxophone": {"saxophone": 1.0, "clarinet": 0.3, "trumpet": 0.3},
    "clarinet": {"clarinet": 1.0, "flute": 0.5, "saxophone": 0.3},
    "trumpet": {"trumpet": 1.0, "saxophone": 0.3},
    "harp": {"harp": 1.0},
    "accordion": {"accordion": 1.0},
    "mallets": {"mallets": 1.0, "glockenspiel": 0.7},
    "glockenspiel": {"glockenspiel": 1.0, "mallets": 0.7},
    "bell": {"bell": 1.0},
    "car": {"car": 1.0, "race_car": 0.7, "bus": 0.4},
    "race_car": {"race_car": 1.0, "car": 0.7},
    "bus": {"bus": 1.0, "car": 0.3},
    "train": {"train": 1.0},
    "motorcycle": {"motorcycle": 1.0},
    "siren": {"siren": 1.0, "car": 0.4, "bus": 0.4},
    "horn": {"car": 1.0, "bus": 0.7, "train": 0.3},
    "helicopter": {"helicopter": 1.0},
    "aeroplane": {"aeroplane": 1.0, "helicopter": 0.3},
    "boat": {"boat": 1.0},
    "chainsaw": {"chainsaw": 1.0},
    "lawn_mower": {"lawn_mower": 1.0, "tractor": 0.7},
    "drill": {"drill": 1.0},
    "hammer": {"hammer": 1.0},
    "vacuum": {"vacuum": 1.0},
    "typing": {"typing": 1.0},
    "gun": {"gun": 1.0},
    "clock": {"clock": 1.0},
    "phone": {"phone": 1.0},
    "whistle": {"whistle": 1.0},
    "music": {},
    "none": {},
}
NOTHING = ("music", "none")  # kinds of sounds that no single thing makes


def members(seen: Sequence[str] = tuple(SEEN)) -> Tensor:
    """(1000, S): 1 where an ImageNet class is of a kind of thing."""
    table = torch.zeros(CLASSES, len(seen))
    for column, kind in enumerate(seen):
        table[list(SEEN[kind]), column] = 1
    return table


def relation(heard: Sequence[str] = tuple(HEARD), seen: Sequence[str] = tuple(SEEN)) -> Tensor:
    """(H, S): how likely a sound of a kind is made by a visible thing of a kind."""
    table = torch.zeros(len(heard), len(seen))
    for row, sound in enumerate(heard):
        for thing, likely in HEARD[sound].items():
            if thing in seen:
                table[row, list(seen).index(thing)] = likely
    return table
