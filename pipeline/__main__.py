"""`python -m pipeline`: an earlier name of the `tessera` command."""

from cli.main import main

if __name__ == "__main__":
    main()
