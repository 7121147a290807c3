"""``python -m streams.cli`` is ``tocsin``: for children, which inherit no path to the script."""

from streams.cli.main import main

if __name__ == "__main__":
    main()
