"""`python -m loadtest`: the command line."""

from loadtest.cli import run_main

if __name__ == "__main__":
    run_main()
