"""``python -m avseg_cli`` is the command ``avseg`` (torchrun starts it this way)."""

from avseg_cli.cli import main

if __name__ == "__main__":
    main()
