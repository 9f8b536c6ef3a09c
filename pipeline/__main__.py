"""`python -m pipeline`: an earlier name of the `tessera` command."""

import runpy

if __name__ == "__main__":
    runpy.run_module("cli", run_name="__main__", alter_sys=True)
