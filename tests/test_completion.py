"""What every command has: --version, -h, and completion in the shell."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

import se600m
from se600m import cli

PLACES = {
    "bash": ".bash_completions/se600m.sh",
    "zsh": ".zfunc/_se600m",
    "fish": ".config/fish/completions/se600m.fish",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with a command `se600m` in its bin."""
    folder = tmp_path_factory.mktemp("home")
    script = folder / "bin" / "se600m"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nfrom se600m.cli import main\nmain()\n")
    script.chmod(0o755)
    return folder


def run(home, *words, **variables):
    path = f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    # Typer looks for the shell among the processes above; this has it take the name of one.
    given = {"HOME": str(home), "PATH": path, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", **variables}
    return subprocess.run(words, capture_output=True, text=True, env={**os.environ, **given}, timeout=120, check=False)


def asked(home, shell, line):
    """Ask the command for what may follow a line, as the shell's script does."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    if shell != "bash":
        words = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    return run(home, "se600m", _SE600M_COMPLETE=f"complete_{shell}", **words)


@pytest.mark.parametrize("shell", PLACES)
def test_the_shell_understands_its_script(home, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = Path(home, "script")
    script.write_text(run(home, "se600m", "--show-completion", shell).stdout)
    parsed = subprocess.run([shell, "-n", script], capture_output=True, text=True, check=False)
    assert (parsed.returncode, parsed.stderr) == (0, "")


@pytest.mark.parametrize("shell", PLACES)
def test_completion(home, shell):
    shown = run(home, "se600m", "--show-completion", shell)
    assert shown.returncode == 0, shown.stderr
    assert f"_SE600M_COMPLETE=complete_{shell}" in shown.stdout
    installed = run(home, "se600m", "--install-completion", shell)
    assert installed.returncode == 0, installed.stderr
    script = Path(home, PLACES[shell])
    assert script.read_text().strip() == shown.stdout.strip()
    for line, wanted, unwanted in (
        ("se600m tra", ["transfer-labels"], ["embed"]),
        ("se600m embed in.h5ad --fill i", ["independent"], ["none"]),
    ):
        said = asked(home, shell, line)
        assert said.returncode == 0, said.stderr
        assert all(word in said.stdout for word in wanted)
        assert not any(word in said.stdout for word in unwanted)


def test_bash_completes(home):
    """The script does in bash what it is for."""
    script = run(home, "se600m", "--show-completion", "bash").stdout
    typed = "COMP_WORDS=(se600m decode --prec)\nCOMP_CWORD=2\n_se600m_completion se600m"
    ask = f'{script}\n{typed}\necho "${{COMPREPLY[@]}}"'
    assert run(home, "bash", "-c", ask).stdout.strip() == "--precision"


def test_names_of_models_are_completed():
    command = typer.main.get_command(cli.app).commands["embed"]
    option = next(p for p in command.params if p.name == "model")
    found = option.shell_complete(None, "SE")
    assert [getattr(item, "value", item) for item in found] == ["SE-600M"]


def test_version(home):
    shown = run(home, "se600m", "--version")
    assert (shown.returncode, shown.stdout.strip()) == (0, f"se600m-go {se600m.__version__}")


def commands(command, words=()):
    inner = getattr(command, "commands", {}).items()
    return [words, *(found for name, below in inner for found in commands(below, (*words, name)))]


@pytest.mark.parametrize("words", commands(typer.main.get_command(cli.app)), ids=" ".join)
def test_h_is_help_everywhere(words, told):
    status, _, out = told(*words, "-h", with_output=True)
    assert status == 0
    assert "Usage: " in out
    assert "--help" in out


@pytest.mark.parametrize("words", commands(typer.main.get_command(cli.app)), ids=" ".join)
def test_who_takes_a_model_takes_a_checkpoint(words):
    command = typer.main.get_command(cli.app)
    for word in words:
        command = command.commands[word]
    names = {p.name for p in command.params}
    assert "model" not in names or {"checkpoint", "protein_embeddings"} <= names
