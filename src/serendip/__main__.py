"""``python -m serendip``."""

from serendip.cli.main import main

if __name__ == "__main__":
    main()
