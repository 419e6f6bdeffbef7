"""``avseg ablate``: the paper's Tables 6.2 and 6.3 and the depth curve of Fig. 6.3, on any data in AVSBench's layouts.

What the variants share is trained once: the pretraining of a backbone from nothing, the image embeddings,
and stage 1b, which has no fusion. A variant that is done is not done again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from avseg_cli.ablation.ablate_options import AblateOptions
from avseg_cli.base.errors import DataError, InputError, OutputError, named
from avseg_cli.base.json_text import parse_json
from avseg_cli.base.json_types import fits
from avseg_cli.base.progress import console
from avseg_cli.base.whole_files import write_json, write_whole
from avseg_cli.data.check import refuse_gaps
from avseg_cli.data.clips import read_clips
from avseg_cli.data.composed_lines import is_composed
from avseg_cli.data.subsets import find_subset
from avseg_cli.model.backbones import BACKBONES
from avseg_cli.model.config import ModelConfig
from avseg_cli.model.fusion import FUSIONS, Fusion
from avseg_cli.scoring.evaluate import EvaluateOptions, evaluate
from avseg_cli.scoring.published import ABLATIONS, FUSION_ROWS, Published
from avseg_cli.training.material import Material
from avseg_cli.training.run_folder import StageFolder, unfinished
from avseg_cli.training.stages import pretraining
from avseg_cli.training.train import check_ready, train
from avseg_cli.training.train_options import TrainOptions

DEEPEST = 8  # blocks, Fig. 6.3


@dataclass(frozen=True)
class Variant:
    """One row: its name, the table it belongs to, what it changes in the options, and the published row if any."""

    name: str
    table: str
    changes: dict[str, Any]
    published: Published | None = None


VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant("spatial-a2v", "6.3", {"temporal": False, "bidirectional": False}, ABLATIONS["spatial-a2v"]),
        Variant("no-temporal", "6.3", {"temporal": False}, ABLATIONS["no-temporal"]),
        Variant("no-bidirectional", "6.3", {"bidirectional": False}, ABLATIONS["no-bidirectional"]),
        Variant("no-adapters", "6.3", {"adapters": False}, ABLATIONS["no-adapters"]),
        Variant("full", "6.3", {}, ABLATIONS["full"]),
        *(
            Variant(f"fusion-{name}", "6.2", {"fusion": name}, FUSION_ROWS.get(name))
            for name in dict.fromkeys((*FUSION_ROWS, *FUSIONS))  # the table's first
            if name != ModelConfig.fusion
        ),
        *(Variant(f"depth-{depth}", "depth", {"depth": depth}) for depth in range(1, DEEPEST + 1)),
    )
}
SETS = {
    "table-6.2": tuple(name for name, v in VARIANTS.items() if v.table == "6.2") + ("full",),
    "table-6.3": tuple(name for name, v in VARIANTS.items() if v.table == "6.3"),
    "depth": tuple(name for name, v in VARIANTS.items() if v.table == "depth"),
}


@dataclass(frozen=True)
class VariantScore:
    """What a variant reached on the evaluated split."""

    variant: str
    miou: float
    f: float
    f_dataset: float
    checkpoint: str


def choose(names: Iterable[str]) -> list[Variant]:
    """Variants by name or by set (table-6.2, table-6.3, depth, all), each once. Raises ``InputError`` for others."""
    chosen: dict[str, Variant] = {}
    for name in names:
        members = tuple(VARIANTS) if name == "all" else SETS.get(name, (name,))
        for member in members:
            if member not in VARIANTS:
                raise InputError(f"no variant {member!r}; choose from {', '.join([*SETS, 'all', *VARIANTS])}")
            chosen[member] = VARIANTS[member]
    return list(chosen.values())


def ablate(base: TrainOptions, options: AblateOptions) -> list[VariantScore]:
    """Train and evaluate every variant in ``base.out/<variant>``; returns their rows in order."""
    split, frozen = options.split, options.frozen
    out, variants = Path(base.out), _fitting(choose(options.variants), frozen)
    _check_ready(base, split)
    base = replace(base, cache=base.cache or str(out / "embeddings"))
    base = _pretrained(base, out)
    adapters = None
    if _share_adapters(variants, frozen):
        console().print("[bold]shared by all variants: adapters and decoder without fusion[/bold]")
        adapters = _trained(_shared(base, out))
    rows = []
    for variant in variants:
        console().print(f"[bold]variant {variant.name}[/bold]")
        done = out / variant.name / "evaluation.json"
        asked = _asked(base, split, frozen)
        if not _is_kept(done, asked):
            best = _train_variant(base, variant, out, adapters, frozen)
            _evaluate_variant(base, variant, best, asked, done)
        rows.append(read_row(done))
    write_json(out / "ablation.json", [asdict(row) for row in rows])
    markdown = to_markdown(rows, base.subset, is_composed(base.data, find_subset(base.subset)))
    write_whole(out / "ablation.md", lambda partial: partial.write_text(markdown))
    if any(VARIANTS[row.variant].table == "depth" for row in rows):
        write_whole(out / "depth.png", lambda partial: draw_depth(rows, base.subset, partial))
    return rows


def _share_adapters(variants: list[Variant], frozen: bool) -> bool:
    return not frozen and any(variant.changes.get("adapters", True) for variant in variants)


def _shared(base: TrainOptions, out: Path) -> TrainOptions:
    """How the adapters of all variants are trained."""
    return replace(base, stages=("1b",), out=str(out / "shared"))


def _fusion(variant: Variant) -> Fusion:
    return FUSIONS[variant.changes.get("fusion", ModelConfig.fusion)]


def _fitting(variants: list[Variant], frozen: bool) -> list[Variant]:
    """Without those that are about adapters, or hear by them alone, where all are trained without.

    Raises ``InputError`` if nothing is left.
    """
    kept = [v for v in variants if not (frozen and ("adapters" in v.changes or not _fusion(v).prompts))]
    if not kept:
        raise InputError(
            f"what was chosen is about adapters, or hears with them alone: leave out {named('frozen')}, which has none"
        )
    return kept


def _check_ready(base: TrainOptions, split: str) -> Material:
    """Look at all that the variants will need before the first folder is made; the clips that they learn from."""
    refuse_gaps(read_clips(base.data, find_subset(base.subset), split, base.limit_clips))
    begun = _with_pretraining(base, Path(base.out))
    base = replace(base, cache=base.cache or str(Path(base.out) / "embeddings"))
    return check_ready(replace(base, stages=("1a",) if begun.pretrained == base.pretrained else (*pretraining(), "1a")))


def plan(base: TrainOptions, options: AblateOptions) -> list[str]:
    """What ``ablate`` would still do, a line for each variant; writes nothing. Raises ``DataError`` for bad data."""
    split, frozen = options.split, options.frozen
    variants = _fitting(choose(options.variants), frozen)
    learnt, judged = _check_ready(base, split).counts
    lines = [f"use {learnt} to train on and {judged} to choose the best on"]
    out, started = Path(base.out), _with_pretraining(base, Path(base.out))
    if started != base:
        _refuse_differing(_pretraining(base, started))
    adapters = StageFolder(out / "shared" / "1b").best if _share_adapters(variants, frozen) else None
    if adapters is not None:
        _refuse_differing(_shared(started, out))
    for variant in variants:
        folder = out / variant.name
        done = _is_kept(folder / "evaluation.json", _asked(started, split, frozen))
        trained = None if done else _options_of(started, variant, out, adapters, frozen)
        if trained is not None:
            _refuse_differing(trained)
        how = "keep" if done else "train stage 1a of and evaluate" if frozen else "train and evaluate"
        lines.append(f"{how} {variant.name} in {folder}")
    return lines


def _pretrained(base: TrainOptions, out: Path) -> TrainOptions:
    """A backbone from nothing is pretrained once for all variants."""
    begun = _with_pretraining(base, out)
    if begun != base:
        _trained(_pretraining(base, begun))
    return begun


def _pretraining(base: TrainOptions, begun: TrainOptions) -> TrainOptions:
    return replace(base, stages=pretraining(), out=str(begun.pretrained), epochs=None, batch_size=None)


def _with_pretraining(base: TrainOptions, out: Path) -> TrainOptions:
    """The options of the variants, which begin with what was pretrained for them, if anything is."""
    if not BACKBONES[base.backbone].from_nothing or base.init or base.pretrained:
        return base
    return replace(base, pretrained=str(out / "pretrained"))


def _train_variant(base: TrainOptions, variant: Variant, out: Path, adapters: Path | None, frozen: bool) -> Path:
    """Its best checkpoint."""
    options = _options_of(base, variant, out, adapters, frozen)
    if options is None:
        assert adapters is not None
        return adapters
    return _trained(options)


def _options_of(
    base: TrainOptions, variant: Variant, out: Path, adapters: Path | None, frozen: bool
) -> TrainOptions | None:
    """How a variant is trained; None where what all share is it. Without fusion there is nothing to join: stage 1b is
    the whole model."""
    fusion = _fusion(variant)
    options = replace(base, **variant.changes, out=str(out / variant.name), stages=("1a" if fusion.prompts else "1b",))
    if not fusion.prompts:
        return options
    if fusion.build is None and adapters is not None:
        return None
    if frozen:
        return replace(options, adapters=False)
    return replace(options, stages=("1a", "2"), init_adapters=str(adapters)) if options.adapters else options


def _trained(options: TrainOptions) -> Path:
    """Train, or finish what an interrupted call began, or take what is done."""
    run = Path(options.out)
    if _refuse_differing(options):
        for left in unfinished(run):
            train(replace(left, out=options.out), resume=True)
        return StageFolder(run / options.stages[-1]).best
    return train(options)


def _refuse_differing(options: TrainOptions) -> bool:
    """Whether the run was started; raises ``OutputError`` when that was with other options."""
    folders = [StageFolder(Path(options.out) / stage) for stage in options.stages]
    started = [folder for folder in folders if folder.started]
    for folder in started:
        _refuse_others(folder, options)
    return bool(started)


# What may differ between a run and the options it is taken up with: where and how fast it runs, not what comes out.
_INDIFFERENT = ("out", "command", "device", "workers", "save_minutes", "cache")
_PATHS = ("data", "init", "init_adapters", "pretrained")


def _refuse_others(folder: StageFolder, options: TrainOptions) -> None:
    """Raises ``OutputError`` when a stage was trained with other options than are asked for now."""
    was, now = (_comparable(each) for each in (folder.options, options))
    differing = [f"{name} {was[name]!r}, not {now[name]!r}" for name in now if was[name] != now[name]]
    if differing:
        raise OutputError(
            f"{folder.path}: trained with {', '.join(differing)}; give the same options to use it, "
            f"or another {named('out')}"
        )


def _comparable(options: TrainOptions) -> dict[str, Any]:
    values = {name: value for name, value in options.to_dict().items() if name not in _INDIFFERENT}
    for name in _PATHS:
        if values[name] and Path(values[name]).exists():  # else the name of a checkpoint
            values[name] = str(Path(values[name]).resolve())
    return values


def _asked(base: TrainOptions, split: str, frozen: bool) -> dict[str, Any]:
    """What a result is of, and what it is written with: it serves again only where all of this is the same."""
    text = json.dumps({"split": split, "frozen": frozen, "options": _comparable(base)})
    return json.loads(text)  # as it will be read


def _is_kept(done: Path, asked: dict[str, Any]) -> bool:
    """Whether an earlier run left this very result."""
    try:
        return parse_json(done.read_text(encoding="utf-8")).get("of") == asked
    except FileNotFoundError:
        return False
    except (ValueError, AttributeError) as error:
        raise DataError(f"{done}: damaged ({error}); delete it, and the variant is evaluated again") from error


def _evaluate_variant(base: TrainOptions, variant: Variant, best: Path, asked: dict[str, Any], done: Path) -> None:
    result = evaluate(
        EvaluateOptions(
            data=base.data,
            subset=base.subset,
            split=asked["split"],
            checkpoint=str(best),
            device=base.device,
            precision=base.scoring_precision,
            limit_clips=base.limit_clips,
        )
    )
    total = result.total
    done.parent.mkdir(parents=True, exist_ok=True)
    row = VariantScore(variant.name, total.miou, total.f, total.f_dataset, str(best))
    write_json(done, asdict(row) | {"of": asked})


TITLES = {
    "6.2": "Fusion modules (Table 6.2)",
    "6.3": "Parts of ST-BAVA (Table 6.3)",
    "depth": "Depth (Fig. 6.3)",
}


def read_row(path: Path) -> VariantScore:
    """What an earlier run wrote of a variant. Raises ``DataError`` when the file is damaged."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        content.pop("of", None)
        row = VariantScore(**content)
        scores = (row.miou, row.f, row.f_dataset)
        if row.variant not in VARIANTS or not all(fits(score, float) for score in scores):
            raise ValueError("not the scores of a variant")
        return row
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: damaged ({error}); delete it, and the variant is evaluated again") from error


def to_markdown(rows: list[VariantScore], subset: str, composed: bool = False) -> str:
    """The tables, with the published figures beside ours unless these are of composed clips."""
    by_name = {row.variant: row for row in rows}
    parts = []
    for table, title in TITLES.items():
        names = [name for name in (*SETS["table-6.2"], *VARIANTS) if name in by_name]
        own = [name for name in dict.fromkeys(names) if VARIANTS[name].table == table]
        if not own:
            continue
        if table == "6.2" and "full" in by_name:
            own.append("full")
        lines = [
            f"### {title}",
            "",
            "| variant | mIoU % | F |" + ("" if composed else " published mIoU % | published F |"),
            "|---|---|---|" + ("" if composed else "---|---|"),
        ]
        for name in own:
            row, published = by_name[name], VARIANTS[name].published
            miou, f = published.on(subset) if published else (None, None)
            theirs = f" {miou:.2f} | {f:.3f} |" if miou is not None else " – | – |"
            label = published.name if published else name
            lines.append(f"| {label} | {100 * row.miou:.2f} | {row.f:.3f} |{'' if composed else theirs}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def draw_depth(rows: list[VariantScore], subset: str, path: Path) -> None:
    """mIoU over the number of ST-BAVA blocks; the paper's best depth is marked."""
    from matplotlib.figure import Figure

    from avseg_cli.pages.plots import whole

    points = sorted(
        (VARIANTS[r.variant].changes["depth"], 100 * r.miou) for r in rows if VARIANTS[r.variant].table == "depth"
    )
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axis = figure.subplots()
    axis.plot(*zip(*points, strict=True), marker="o", label="here")
    best = find_subset(subset).fusion_depth
    axis.axvline(best, linestyle=":", color="gray", label=f"best in the paper: {best}")
    axis.set(xlabel="ST-BAVA blocks", ylabel="mIoU %", title=subset)
    whole(axis.xaxis)
    axis.legend()
    figure.savefig(path, format="png", dpi=120)
