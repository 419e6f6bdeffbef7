"""SAMA-AVS (Liu et al., Annotation-free Audio-Visual Segmentation, WACV 2024): no fusion, an unprompted decoder.

Its adapters alone hear; the decoder gives its single mask.
"""

from __future__ import annotations

from avseg_cli.model.fusion import Fusion

FUSION = Fusion(prompts=False)
