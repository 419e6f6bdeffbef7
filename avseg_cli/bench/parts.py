"""The components that are compared, each on the same inputs: the reference's own intermediate results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from avseg_cli.base.operations import count_flops
from avseg_cli.base.text import counted
from avseg_cli.bench.bench_options import PARTS
from avseg_cli.bench.measure import Work
from avseg_cli.bench.reference import MASK_SIZE, Reference
from avseg_cli.model.avseg import AvsegModel
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.log_mel import SAMPLE_RATE, clip_log_mel, log_mel_examples
from avseg_cli.model.transforms import upsample_logits
from avseg_cli.outputs.results import MaskResult

SOUND_RATE = 48_000  # Hz; what videos have
SOUND_SECONDS = 60
FULL_HD = (1080, 1920)  # pixels


@dataclass(frozen=True)
class Part:
    """One row of the table: the same work by the reference and by us."""

    name: str
    what: str  # how much of it, for the reader
    reference: Work
    ours: Work
    flops: tuple[int, int]  # reference, ours
    has_masks: bool = False  # the output is logits, whose masks can be compared
    encoded: tuple[int, int] | None = None  # frames that go through each side's image encoder and no further back


def build_model(config: ModelConfig, seed: int) -> AvsegModel:
    """A model with seeded random weights; positions are not left at zero, where a mistake would not show."""
    torch.manual_seed(seed)
    model = AvsegModel(config)
    for name, parameter in model.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval().requires_grad_(False)


def make_clips(config: ModelConfig, clips: int, seed: int) -> tuple[Tensor, np.ndarray]:
    """Normalised frames (clips, T, 3, S, S), and a minute of 48 kHz sound (samples,)."""
    random = torch.Generator().manual_seed(seed)
    shape = (clips * config.clip_frames, 3)
    size = (config.image_size,) * 2
    coarse = torch.randn(*shape, 8, 8, generator=random)
    frames = F.interpolate(coarse, size, mode="bicubic") + 0.1 * torch.randn(*shape, *size, generator=random)
    return frames.unflatten(0, (clips, -1)), _make_sound(seed)


def _make_sound(seed: int) -> np.ndarray:
    """A tone and noise below 6 kHz: nearer to 8 kHz any two resamplers to 16 kHz differ by design."""
    time = np.arange(SOUND_RATE * SOUND_SECONDS) / SOUND_RATE
    noise = np.fft.rfft(np.random.default_rng(seed).normal(0, 0.05, time.size))
    noise[6_000 * SOUND_SECONDS :] = 0
    tone = 0.3 * np.sin(2 * np.pi * 220 * time)
    return (tone + np.fft.irfft(noise, time.size)).astype(np.float32)


class Parts:
    """Builds the parts asked for; ``reference`` and ``model`` have the same weights and are on their device."""

    def __init__(self, reference: Reference, model: AvsegModel, frames: Tensor, sound: np.ndarray, batch: int) -> None:
        self.reference, self.model, self.batch = reference, model, batch
        self.device = reference.device
        self.sound_48k = sound
        self.frames = frames.to(self.device)
        examples = clip_log_mel(sound[::3], frames.shape[0] * frames.shape[1]).to(self.device)
        self.log_mel = examples.unflatten(0, frames.shape[:2])  # (clips, T, 1, 96, 64)
        self.config = model.config
        with torch.device("meta"):  # counting needs shapes only
            self.empty_model = AvsegModel(self.config).eval().requires_grad_(False)
        self.empty_reference = Reference(self.empty_model)

    def build(self, names: tuple[str, ...]) -> Iterator[Part]:
        """The parts of those names, in the order in which a clip goes through them."""
        sound = self.reference.vggish(self.log_mel.flatten(0, 1).to(self.reference.dtype))
        for name in PARTS:
            if name in names:
                yield getattr(self, f"_{name}")(sound.float())

    def _log_mel(self, _: Tensor) -> Part:
        import soxr

        def ours() -> Tensor:
            return log_mel_examples(soxr.resample(self.sound_48k, SOUND_RATE, SAMPLE_RATE))

        self.reference.log_mel(self.sound_48k[:SOUND_RATE], SOUND_RATE)  # resampy compiles itself when first used
        return Part(
            "log_mel",
            f"{SOUND_SECONDS} s of sound at 48 kHz, resampling included",
            lambda: self.reference.log_mel(self.sound_48k, SOUND_RATE),
            ours,
            (0, 0),
        )

    def _vggish(self, _: Tensor) -> Part:
        flat = self.log_mel.flatten(0, 1)
        flops = count_flops(lambda: self.empty_reference.vggish(_empty(flat)))
        dtype = self.reference.dtype
        return Part(
            "vggish",
            f"{len(flat)} seconds",
            lambda: self.reference.vggish(flat.to(dtype)),
            lambda: self.model.embed_sound(flat),
            (flops, flops),
        )

    def _encoder(self, sound: Tensor) -> Part:
        frames, sound = self.frames.flatten(0, 1)[: self.batch], sound[: self.batch]
        flops = count_flops(lambda: self.empty_reference.encode(_empty(frames), _empty(sound)))
        ours = count_flops(lambda: self.empty_model.embed_frames(_empty(frames), _empty(sound)))
        return Part(
            "encoder",
            counted(len(frames), "frame"),
            lambda: self.reference.encode(frames, sound),
            lambda: self.model.embed_frames(frames, sound),
            (flops, ours),
            encoded=(len(frames), len(frames)),
        )

    def _fusion(self, sound: Tensor) -> Part:
        embeddings, audio = self._embeddings(), self.reference.embed_audio(sound)
        time = self.config.clip_frames
        clips = list(zip(embeddings.split(time), audio.split(time), strict=True))
        dtype = self.model.dtype
        pixels = embeddings.flatten(2).transpose(1, 2).unflatten(0, (-1, time)).to(dtype).contiguous()
        tokens = audio.view(-1, time, audio.shape[-1]).to(dtype)
        positions = self.model.positions(self.config.grid).to(dtype)

        fusion, empty = self.model.fusion, self.empty_model.fusion
        assert fusion and empty  # others are refused before

        def reference() -> Tensor:
            return torch.cat([self.reference.fuse(*clip)[0] for clip in clips]).flatten(2).transpose(1, 2)

        flops = count_flops(lambda: [self.empty_reference.fuse(*map(_empty, clip)) for clip in clips])
        ours = count_flops(lambda: empty(_empty(pixels), _empty(tokens), _empty(positions)))
        return Part(
            "fusion",
            f"ST-BAVA, depth {self.config.fusion_depth}, {counted(len(clips), 'clip')}",
            reference,
            lambda: fusion(pixels, tokens, positions)[0].flatten(0, 1),
            (flops, ours),
        )

    def _decoder(self, sound: Tensor) -> Part:
        embeddings, audio = self._embeddings(), self.reference.embed_audio(sound)
        dense = torch.randn_like(embeddings)
        dtype = self.model.dtype
        pixels = (embeddings + dense).flatten(2).transpose(1, 2).to(dtype).contiguous()
        sparse = audio.repeat(1, 2, 1).to(dtype)
        positions = self.model.positions(self.config.grid).to(dtype)
        flops = count_flops(lambda: self.empty_reference.decode(_empty(embeddings), _empty(dense), _empty(audio)))
        ours = count_flops(lambda: self.empty_model.mask_decoder(_empty(pixels), _empty(sparse), _empty(positions)))
        return Part(
            "decoder",
            f"{counted(len(embeddings), 'frame')}, upsampling included",
            lambda: self.reference.decode(embeddings, dense, audio),
            lambda: self._upsample(self.model.mask_decoder(pixels, sparse, positions)),
            (flops, ours),
            True,
        )

    def _clip(self, sound: Tensor) -> Part:
        clips, time = self.frames.shape[:2]
        samples = SAMPLE_RATE * (time + 1)
        wave = self.sound_48k[: 3 * samples : 3]

        @torch.compiler.disable  # numpy and resampy, which no compiler of torch's takes
        def heard_by_reference() -> Tensor:
            return self.reference.log_mel(wave)[:time].to(self.device)

        def reference() -> Tensor:
            log_mel = heard_by_reference()
            return torch.cat([self.reference.clip(frames, log_mel) for frames in self.frames])

        def ours() -> Tensor:
            heard = self.model.embed_sound(clip_log_mel(wave, time).to(self.device))
            heard = heard.expand(clips, *heard.shape)
            embeddings = self._embed(self.frames.flatten(0, 1), heard.flatten(0, 1))
            logits = self.model.decode(embeddings.unflatten(0, (clips, time)), heard)
            return self._upsample(logits.flatten(0, 1))

        log_mel = self.log_mel[0]
        flops = clips * count_flops(lambda: self.empty_reference.clip(_empty(self.frames[0]), _empty(log_mel)))
        ours_flops = count_flops(lambda: self.empty_model(_empty(self.frames), _empty(self.log_mel)))
        return Part(
            "clip",
            f"{counted(clips, 'whole clip')} of {counted(time, 'frame')}: sound and frames in, masks out",
            reference,
            ours,
            (flops, ours_flops),
            True,
            (clips * time, clips * time),
        )

    def _masks(self, _: Tensor) -> Part:
        config, time = self.config, self.config.clip_frames
        coarse = torch.randn(time, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 0.5
        low = F.interpolate(coarse, (config.low_res,) * 2, mode="bicubic")[:, 0].to(self.device)

        def ours() -> Tensor:
            results = [MaskResult(0, 0.0, 0.0, logits, FULL_HD, config.image_size) for logits in low.cpu().numpy()]
            return torch.from_numpy(np.stack([result.mask_at(FULL_HD) for result in results]))

        return Part(
            "masks",
            f"{counted(time, 'frame')} of {FULL_HD[1]} x {FULL_HD[0]} from the model's logits",
            lambda: (upsample_logits(low, config.image_size, FULL_HD) > 0).cpu(),
            ours,
            (0, 0),
            True,
        )

    def _embed(self, frames: Tensor, sound: Tensor) -> Tensor:
        pairs = zip(frames.split(self.batch), sound.split(self.batch), strict=True)
        return torch.cat([self.model.embed_frames(*pair) for pair in pairs])

    def _embeddings(self) -> Tensor:
        """Something as an encoder's output is, without waiting for one: normalised over channels."""
        shape = (self.frames.shape[0] * self.frames.shape[1], self.config.out_chans, *(self.config.grid,) * 2)
        random = torch.Generator().manual_seed(0)
        return torch.randn(shape, generator=random).to(self.device, self.reference.dtype)

    def _upsample(self, low: Tensor) -> Tensor:
        return self.model.upsample(low, (MASK_SIZE, MASK_SIZE))


def _empty(tensor: Tensor) -> Tensor:
    """The same shape without the numbers, for counting."""
    return torch.empty(tensor.shape, device="meta")
