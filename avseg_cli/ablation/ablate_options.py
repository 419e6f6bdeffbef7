"""What `avseg ablate` can be told, besides what a training run can."""

from __future__ import annotations

from dataclasses import dataclass

from avseg_cli.base.option_fields import check, option


@dataclass(frozen=True)
class AblateOptions:
    """Which variants are compared, and how. frozen: stage 1a alone for all, the encoder frozen and without adapters:
    the fusion modules compared at the price of one pass through the encoder.
    """

    variants: tuple[str, ...] = option(
        ("table-6.3",), "table-6.2, table-6.3, depth, all, or variants by name (comma separated).",
        offers=("table-6.2", "table-6.3", "depth", "all"),
    )  # fmt: skip
    frozen: bool = option(False, "Only stage 1a, encoder frozen and without adapters: cheap, compares fusion alone.")
    split: str = option("test", "The split that is reported.")

    def __post_init__(self) -> None:
        check(self)
