"""`python -m loadtest`: the command line."""

from gateway.runtime.loading import loading

with loading():
    from loadtest.cli import run_main

if __name__ == "__main__":
    run_main()
