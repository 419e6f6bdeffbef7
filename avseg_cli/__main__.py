"""``python -m avseg_cli`` is the command ``avseg`` (torchrun starts it this way)."""

from avseg_cli.cli import run

if __name__ == "__main__":
    run()
