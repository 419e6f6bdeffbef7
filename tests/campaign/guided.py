"""``python -m tests.campaign.guided "table of S4" --seconds 60``: one of the readers, led by coverage of avseg's code.

atheris (``pip install atheris``) keeps the changes that reach lines not reached before, and so gets deeper than chance.
A broken promise ends it with a traceback, and the name of a file with the content that did it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))  # the makers of test videos

with atheris.instrument_imports(include=["avseg_cli"]):
    import avseg_cli.ablation.ablate
    import avseg_cli.checkpoints.checkpoint
    import avseg_cli.checkpoints.import_weights
    import avseg_cli.cli
    import avseg_cli.data.check
    import avseg_cli.data.dataset
    import avseg_cli.segment.index_page
    import avseg_cli.synth.library
    import avseg_cli.synth.licences
    import avseg_cli.synth.rcc
    import avseg_cli.training.loop  # noqa: F401

from .fuzz import outcome, prepare  # noqa: E402
from .readers import READERS  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.guided", description=__doc__)
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    folder = Path(tempfile.mkdtemp(prefix="guided-"))  # stays: libFuzzer ends the process by itself
    os.environ["AVSEG_CACHE"] = str(folder / "cache")
    reader = READERS[options.reader]
    seed, peak = prepare(reader, folder)
    (folder / "corpus").mkdir()
    (folder / "corpus/seed").write_bytes(seed)
    # the time limit is the readers' own: libFuzzer's would take over their alarm
    atheris.Setup(
        [
            sys.argv[0],
            str(folder / "corpus"),
            "-timeout=0",
            f"-max_total_time={options.seconds}",
            f"-seed={options.seed}",
            f"-max_len={4 * len(seed)}",
            f"-artifact_prefix={folder}/",
        ],
        lambda content: outcome(reader, folder, content, peak) and None,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
