"""`tessera completion`: the shell's own script that completes commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from core.errors import ConfigError


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    bash: `eval "$(tessera completion bash)"` in ~/.bashrc; zsh: the same with `zsh` in
    ~/.zshrc; fish: `tessera completion fish > ~/.config/fish/completions/tessera.fish`.
    """
    found = get_completion_class(shell)
    if found is None:
        raise ConfigError(f"no completion for {shell}")
    # `source_vars` and the template are click's; `source()` would also start bash for its version.
    script = found(ctx.find_root().command, {}, "tessera", "_TESSERA_COMPLETE")
    click.echo(script.source_template % script.source_vars())
