"""Use an installed package that came without any extra: cut, compile, save, load, every help."""

import contextlib
import io
from pathlib import Path

import torch
from typer.main import get_command

import secateur as sc
from secateur.cli import app


def make() -> torch.nn.Module:
    """A small network."""
    return torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))


def main() -> None:
    """Fail where anything does not work."""
    assert "site-packages" in str(sc.__file__), sc.__file__
    net, x = make().eval(), torch.rand(64, 16)
    sparse = sc.prune(net, 0.9, data=x)
    assert torch.allclose(sc.compile(sparse, x)(x), sparse(x), atol=1e-4)
    small = sc.prune(net, 0.5, granularity="neuron", data=x)
    sc.save(small, "small.safetensors")
    assert torch.equal(sc.load("small.safetensors", make)(x), small(x))
    Path("small.safetensors").unlink()
    for name in get_command(app).commands:  # type: ignore[attr-defined]
        with contextlib.redirect_stdout(io.StringIO()) as out:
            get_command(app).main([name, "--help"], standalone_mode=False)
        assert "Usage" in out.getvalue(), name
    print(f"secateur {sc.__version__} works without any extra")


if __name__ == "__main__":
    main()
