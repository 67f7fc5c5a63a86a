"""``python -m poselens`` is the command line."""

from poselens.cli import main

if __name__ == "__main__":
    main()
