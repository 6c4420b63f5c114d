"""`python -m loadtest`: the command line."""

from loadtest.cli import main

if __name__ == "__main__":
    main()
