"""The model of Seon et al. (ICIP 2024): SAM's ViT with audio adapters, VGGish, ST-BAVA, SAM's mask decoder.

One file per box of the paper's figure; nothing here knows about files of video or data sets.
"""
