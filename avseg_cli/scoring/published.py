"""Published figures on AVSBench, to stand beside ours: mIoU (M_J) in percent and F-score (M_F, beta^2 = 0.3).

Sources: Table 6.1 to 6.3 of the thesis behind Seon et al. (ICIP 2024), and SAVE's own report. None: not reported.
"""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """One row: S4 mIoU and F, MS3 mIoU and F."""

    name: str
    s4_miou: float | None
    s4_f: float | None
    ms3_miou: float | None
    ms3_f: float | None

    def on(self, subset: str) -> tuple[float | None, float | None]:
        """mIoU in percent and F on a subset; the later release's v1s and v1m are the same clips."""
        if subset in ("s4", "v1s"):
            return self.s4_miou, self.s4_f
        if subset in ("ms3", "v1m"):
            return self.ms3_miou, self.ms3_f
        return None, None


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
    Published("SAVE, SAM (1024 px, synthetic pretraining)", 86.16, None, 70.83, None),
)

PROMPTS = {
    "points:1": Published("SAM, 1 point", 42.45, 0.637, 33.01, 0.523),
    "points:3": Published("SAM, 3 points", 68.57, 0.839, 54.51, 0.701),
    "box:1": Published("SAM, 1 box", 76.01, 0.867, 63.46, 0.713),
    "box:3": Published("SAM, 3 boxes", 76.75, 0.874, 66.76, 0.813),
}

FUSIONS = {
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
