"""`python -m cli`: the `tessera` command."""

from cli.main import main

if __name__ == "__main__":
    main()
