"""Which file of which Debian package shows or sounds like which category.

The table was made by looking at every picture and measuring every recording: drawings, cartoons, text,
silent recordings and pictures without a usable outline are left out. Paths are relative to the package's
share folder; a gcompris path is ``archive.rcc`` and the file's path inside that archive.
"""

from __future__ import annotations

from dataclasses import dataclass

STAMPS = "tuxpaint-stamps-default"
GCOMPRIS = "gcompris-qt-data"
SOUNDFONT = "fluid-soundfont-gm"
WALLPAPERS = (
    "plasma-workspace-wallpapers",
    "gnome-backgrounds",
    "mate-backgrounds",
    "lomiri-wallpapers",
    "ukui-wallpapers",
)
PACKAGES = (STAMPS, GCOMPRIS, SOUNDFONT, *WALLPAPERS)

STAMPS_ROOT = "usr/share/tuxpaint/stamps"
ARCHIVES_ROOT = "usr/share/gcompris-qt/rcc"
SOUNDFONT_PATH = "usr/share/sounds/sf2/FluidR3_GM.sf2"
SOUNDFONT_LICENCE = {"licence": "MIT", "copyright": "Frank Wen (FluidR3 GM sound font)"}
PROGRAMS = {40: "violin", 42: "cello"}  # of one category and two kinds: renderings are called after them


@dataclass(frozen=True)
class Instrument:
    """How to render one category with a General MIDI sound font.

    programs: program numbers, 0-based. keys: the instrument's range, MIDI note numbers.
    percussion: play ``drums`` (note numbers of the percussion kit) on channel 10 instead of a melody.
    """

    programs: tuple[int, ...] = ()
    keys: tuple[int, int] = (48, 72)
    percussion: tuple[int, ...] = ()
    sustained: bool = True


@dataclass(frozen=True)
class Category:
    """One sounding category: its cut-outs, its recordings, and the instrument that renders it, if any."""

    name: str
    pictures: tuple[str, ...]
    stamp_sounds: tuple[str, ...] = ()
    gcompris_sounds: tuple[str, ...] = ()
    instrument: Instrument | None = None


_FARM = "explore_farm_animals.rcc:gcompris/src/activities/explore_farm_animals/resource/animals/{}.ogg"
_MUSIC = "instruments.rcc:gcompris/src/activities/instruments/resource/{}.ogg"
_NOISE = "memory-sound.rcc:gcompris/src/activities/memory-sound/resource/{}.ogg"


def _animal(name: str, folder: str, pictures: str, sounds: str = "", farm: str = "", noise: str = "") -> Category:
    """Pictures and recordings from one stamp folder; a name with a slash is relative to ``animals``."""

    def locate(stem: str) -> str:
        return f"animals/{stem}" if "/" in stem else f"animals/{folder}/{stem}"

    return Category(
        name,
        tuple(f"{locate(stem)}.png" for stem in pictures.split()),
        tuple(f"{locate(stem)}.ogg" for stem in sounds.split()),
        tuple(_FARM.format(stem) for stem in farm.split()) + tuple(_NOISE.format(stem) for stem in noise.split()),
    )


def _music(
    name: str, folder: str, pictures: str, instrument: Instrument, sounds: str = "", recorded: str = ""
) -> Category:
    return Category(
        name,
        tuple(f"hobbies/music/{folder}/{stem}.png" for stem in pictures.split()),
        tuple(f"hobbies/music/{folder}/{stem}.ogg" for stem in sounds.split()),
        tuple(_MUSIC.format(stem) for stem in recorded.split()),
        instrument,
    )


CATEGORIES: tuple[Category, ...] = (
    _animal("frog", "amphibians", "frog frog-1", "frog", noise="LRFrogsInPondDuringStormLACut"),
    _animal("songbird", "birds", "blackbird lark magpie", "blackbird lark"),
    _animal("duck", "birds", "duck drake gander", "duck gander", farm="duck"),
    _animal("chicken", "birds", "hen chicken_profile rooster", "hen", farm="chickens"),
    _animal("owl", "birds", "owl", "owl", farm="owl"),
    _animal("penguin", "birds", "penguin little-penguin magellanic_penguin", "penguin"),
    _animal("gull", "birds", "seagull silver-gull", "seagull"),
    _animal("insect", "insects", "hornet hoverfly fly", "bee hornet mosquito"),
    _animal("chimp", "mammals/apes", "chimp", "chimp"),
    _animal("cow", "mammals/bovines", "cow cow_white bull zebu", "cow cow_white bull", farm="cow"),
    _animal("sheep", "mammals/bovines", "sheep ram sheep_lamb", "sheep ram", farm="sheep"),
    _animal("big_cat", "mammals/cats", "lion lion-2 tiger tiger_sumatran", "lion tiger"),
    _animal("dog", "mammals/dogs", "dog dingo", "dog", farm="dog", noise="LRBark_1_LA_cut LRBark_3_LA_cut"),
    _animal("elephant", "mammals", "elephant", "elephant"),
    _animal("donkey", "mammals/equines", "donkey donkey_eating", "donkey"),
    _animal("horse", "mammals/equines", "horse", "horse", farm="horse"),
    _animal("pig", "mammals", "pig pig_golden pig_golden2 wildboar", "pig", farm="pig"),
    # a violin and a cello of unknown size look the same: one category
    _music(
        "bowed_strings",
        "string",
        "violin cello",
        Instrument((40, 42), (36, 88)),
        "violin cello",
        "violin cello",
    ),
    _music(
        "acoustic_guitar",
        "string",
        "guitar_classical",
        Instrument((24, 25), (40, 76), sustained=False),
        "",
        "guitar",
    ),
    _music(
        "electric_guitar",
        "string",
        "guitar2 guitar_electric guitar_electric_bass",
        Instrument((29, 30), (36, 74)),
        "",
        "electric_guitar",
    ),
    _music("trumpet", "brass", "trumpet", Instrument((56,), (58, 84)), "", "trumpet"),
    _music("bassoon", "wind", "bassoon", Instrument((70,), (34, 60)), "bassoon"),
    _music(
        "drum",
        "percussion",
        "drum_tomtom_floor drumkit",
        Instrument(percussion=(35, 36, 38, 40, 41, 43, 45, 47, 48, 50)),
        "drum_tomtom_floor",
        "snare_drum",
    ),
    _music(
        "cymbal",
        "percussion",
        "cymbal_crash",
        Instrument(percussion=(49, 57, 51, 59, 55)),
        "cymbal_crash",
        "cymbal",
    ),
    Category("fire_engine", ("vehicles/emergency/firetruck.png",), ("vehicles/emergency/firetruck.ogg",)),
    Category(
        "car",
        tuple(f"vehicles/auto/{stem}.png" for stem in ("beetle", "sedan", "sportscar2", "truck")),
        (),
        (_NOISE.format("LRStartAndStopCarEngine1LACut"),),
    ),
)

# Things that make no sound here: what the model must learn to leave alone.
DISTRACTORS: tuple[str, ...] = tuple(
    f"{folder}/{stem}.png"
    for folder, stems in {
        "food/fruit": "Apricot_whole Strawberry2 apple_fuji apple_granny_smith apple_red avocado banana "
        "grapes kiwi lemon mango orange pear pineapple pomegranate raspberry strawberry sliced_orange",
        "food/vegetables": "broccoli carrot corn eggplant garlic lettuce mushroom onion pepper potato tomato "
        "pumpkin_small yellowpepper",
        "food": "pizza",
        "household": "Lightbulb cylinder garbagecan home_compost_bin kettle rubberduck toilet wheelie_bin",
        "household/dishes": "mug pitcher_small teapot",
        "household/tools": "cementmixer hammer paintbrush_large plyers saw spade toolbox wrench_plumbers",
        "hobbies": "binoculars camera_35mm",
        "sports": "basketball football soccer tennis_ball cricketball tennis_racket",
        "vehicles": "wheel_tractor",
        "vehicles/flight": "balloon360",
        "vehicles/cycle": "pink_tricycle",
        "vehicles/ship": "chineseJunk walnutBoat",
        "plants/flowers": "anemone_red daffodil flower1 flower4 iris marigold rose red-gazania",
        "animals/fish": "coraltrout seahorse bluegroper lionfish lobster",
        "animals/mammals": "giraffe hippopotamus rhino_black badger",
        "animals/mammals/aquatic": "otter dolphin",
        "animals/mammals/rodents": "beaver capybara",
        "animals/marsupials": "kangaroo koala wombat",
        "animals/lizards": "iguana",
    }.items()
    for stem in stems.split()
)

# Background sounds that never count as a source.
AMBIENCE_RECORDINGS: tuple[str, ...] = tuple(
    _NOISE.format(stem)
    for stem in (
        "LRRain_in_garden_01_LA_cut",
        "LRApplauses_1_LA_cut",
        "LRFireballs_01_LA",
        "LRTrain_slowing_down_01_LA_cut",
        "LRObject_falling_02_LA",
        "LRWeird_3_LA",
    )
)
# Synthesiser pads, choir, piano, organ: music that belongs to nobody in the picture.
AMBIENCE_PROGRAMS: tuple[int, ...] = (0, 4, 19, 52, 88, 89, 91, 94, 95, 122)

WALLPAPER_PHOTOS: tuple[str, ...] = tuple(
    f"usr/share/wallpapers/{name}/contents/images/"
    for name in (
        "Autumn",
        "BytheWater",
        "ColdRipple",
        "ColorfulCups",
        "DarkestHour",
        "EveningGlow",
        "FallenLeaf",
        "Grey",
        "Kite",
        "OneStandsOut",
        "Path",
        "Volna",
        "summer_1am",
    )
) + tuple(
    f"usr/share/backgrounds/mate/nature/{name}.jpg"
    for name in (
        "Aqua",
        "Blinds",
        "Dune",
        "FreshFlower",
        "Garden",
        "GreenMeadow",
        "LadyBird",
        "RainDrops",
        "Storm",
        "TwoWings",
        "Wood",
        "YellowFlower",
    )
)
# Archive and the folder inside it whose photographs serve as backgrounds.
PHOTO_FOLDERS: tuple[tuple[str, str], ...] = (
    ("explore_monuments.rcc", "explore_monuments/resource/"),
    ("categorization.rcc", "categorization/resource/images/monuments/"),
    ("categorization.rcc", "categorization/resource/images/renewable/"),
    ("details.rcc", "details/resource/image/"),
)
# Paintings and other pictures of those folders that are no photographs of places.
NOT_PHOTOS = ("gogh", "eglise", "tanguy", "suitcase", "erasers")
