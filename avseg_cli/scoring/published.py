"""Published figures on AVSBench, to stand beside ours: mIoU (M_J) in percent and F-score (M_F, beta^2 = 0.3).

None: not reported.
"""

from __future__ import annotations

from typing import NamedTuple

from avseg_cli.data.subsets import SUBSETS

THESIS = "Tables 6.1 to 6.3 of the thesis behind Seon et al., ICIP 2024"
SAVE = "arXiv:2407.02004, abstract"
STONES = "table in the repository of arXiv:2407.11820"


class Published(NamedTuple):
    """One row: S4 mIoU and F, MS3 mIoU and F, and where they are told."""

    name: str
    s4_miou: float | None
    s4_f: float | None
    ms3_miou: float | None
    ms3_f: float | None
    source: str = THESIS

    def on(self, subset: str) -> tuple[float | None, float | None]:
        """mIoU in percent and F on a subset, or on the one with the same clips; None where nothing is published."""
        known = {"s4": (self.s4_miou, self.s4_f), "ms3": (self.ms3_miou, self.ms3_f)}
        return known.get(SUBSETS[subset].figures or subset, (None, None))


METHODS = (
    Published("TPAVI, PVTv2", 78.74, 0.879, 54.0, 0.645),
    Published("AVSC, PVTv2", 81.29, 0.886, 59.5, 0.657),
    Published("CATR, PVTv2", 81.4, 0.896, 59.00, 0.700),
    Published("AQFormer, PVTv2", 81.6, 0.894, 61.1, 0.721),
    Published("AVSegFormer, PVTv2", 82.06, 0.899, 58.36, 0.693),
    Published("ECMVAE, PVTv2", 81.74, 0.901, 57.84, 0.708),
    Published("LDM, PVTv2", 81.38, 0.902, 58.18, 0.709),
    Published("GAVS, SAM", 80.06, 0.902, 63.70, 0.774),
    Published("SAMA-AVS, SAM", 81.53, 0.886, 63.14, 0.691),
    Published("ST-BAVA, SAM", 82.46, 0.906, 69.01, 0.776),
    Published("SAVE, SAM (1024 px, synthetic pretraining)", 86.16, None, 70.83, None, SAVE),
    Published("SAVE, SAM (256 px, synthetic pretraining)", 84.59, None, 70.28, None, SAVE),
    Published("COMBO, PVTv2", 84.7, None, 59.2, None, "CVPR 2024, arXiv:2312.06462, abstract"),
    Published("AAVS, Swin-B", 83.18, 0.9133, 67.30, 0.7763, STONES),
    Published("VCT, Swin-B (384 px)", 86.2, None, 67.6, None, "CVPR 2025, arXiv:2506.23623"),
)


class Semantic(NamedTuple):
    """A row of AVSS: mIoU in percent and F, means over 71 classes; nothing a model without classes compares with."""

    name: str
    miou: float
    f: float | None
    source: str


AVSS = (
    Semantic("TPAVI, PVTv2", 29.8, 0.352, STONES),
    Semantic("CATR, PVTv2", 32.8, 0.385, STONES),
    Semantic("AVSegFormer, PVTv2", 36.7, 0.420, STONES),
    Semantic("COMBO, PVTv2", 42.1, None, "CVPR 2024, arXiv:2312.06462, abstract"),
    Semantic("AAVS, Swin-B", 48.5, 0.532, STONES),
)

PROMPTS = {
    "points:1": Published("SAM, 1 point", 42.45, 0.637, 33.01, 0.523),
    "points:3": Published("SAM, 3 points", 68.57, 0.839, 54.51, 0.701),
    "box:1": Published("SAM, 1 box", 76.01, 0.867, 63.46, 0.713),
    "box:3": Published("SAM, 3 boxes", 76.75, 0.874, 66.76, 0.813),
}

FUSION_ROWS = {
    "none": Published("none: the sound straight to the decoder", None, None, None, None),
    "sama": Published("SAMA-AVS", 81.53, 0.886, 63.14, 0.691),
    "tpavi": Published("TPAVI", 81.68, 0.902, 64.78, 0.749),
    "han": Published("HAN", 80.56, 0.896, 64.14, 0.739),
    "cmran": Published("CMRAN", 81.46, 0.899, 65.09, 0.747),
    "jca": Published("JCA", 81.99, 0.903, 65.44, 0.751),
    "stbava": Published("ST-BAVA", 82.46, 0.906, 69.01, 0.776),
}

ABLATIONS = {
    "spatial-a2v": Published("spatial, audio to vision only", 76.65, 0.857, 61.54, 0.703),
    "no-temporal": Published("without temporal attention", 80.72, 0.892, 65.37, 0.752),
    "no-bidirectional": Published("without bidirectional attention", 80.09, 0.887, 65.17, 0.749),
    "no-adapters": Published("without adapters", 80.02, 0.888, 66.06, 0.743),
    "full": Published("full ST-BAVA", 82.46, 0.906, 69.01, 0.776),
}
