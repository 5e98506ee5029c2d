"""The training loop: against torch by hand, repeatable, honest about what it did."""

import threading

import pytest
import torch
from torch import nn

from secateur import data
from secateur.core.errors import SecateurError
from secateur.training import loop
from secateur.training.batches import TrainingBatches


@pytest.fixture(scope="module")
def toy():
    """Points of the plane in four quadrants."""
    x = torch.randn(210, 2, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0) * 2 + (x[:, 1] > 0)
    return data.dataset("toy", x[:170], y[:170].long(), x[170:], y[170:].long())


def network(dropout=0.0):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 4))


def trained(toy, seed=0, **settings):
    model = network(settings.pop("dropout", 0.0))
    return loop.train(model, toy, seed, **settings), model


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_equals_the_obvious_loop(toy):
    _, model = trained(toy, seed=7, epochs=2, batch_size=50, lr=0.01)
    plain, order = network(), torch.Generator().manual_seed(7)
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.01)
    for _ in range(2):
        for batch in torch.randperm(170, generator=order).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(plain(toy.train_x[batch]), toy.train_y[batch]).backward()
            optimizer.step()
    assert torch.allclose(weights(model), weights(plain), atol=1e-6)


def test_learns(toy):
    history, model = trained(toy, epochs=40, batch_size=10, lr=0.01)
    assert [r["epoch"] for r in history] == list(range(1, 41))
    assert history[-1]["loss"] < 0.3 * history[0]["loss"]
    assert (model(toy.test_x).argmax(1) == toy.test_y).float().mean() > 0.9


def test_same_seed_same_bits_dropout_too(toy):
    runs = [trained(toy, seed=s, epochs=2, dropout=0.5) for s in (5, 5, 6)]
    figures = [[{k: v for k, v in r.items() if k != "seconds"} for r in history] for history, _ in runs]
    assert torch.equal(weights(runs[0][1]), weights(runs[1][1]))
    assert figures[0] == figures[1] != figures[2]
    assert not torch.equal(weights(runs[0][1]), weights(runs[2][1]))


def test_leaves_generator_and_mode_alone(toy):
    model = network(0.5).eval()
    before = torch.get_rng_state()
    loop.train(model, toy, 0, epochs=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert not model.training


def test_callbacks_see_every_step_and_epoch(toy):
    steps, epochs = [], []
    history, _ = trained(toy, epochs=2, batch_size=50, on_epoch=epochs.append,
                         on_step=lambda **shown: steps.append(shown))
    assert [s["epoch"] for s in steps] == [1] * 4 + [2] * 4
    assert epochs == history
    assert steps[3] == {k: history[0][k] for k in ("epoch", "loss", "accuracy")}


def test_first_record_is_the_mean_over_samples(toy):
    history, _ = trained(toy, epochs=1, batch_size=170)
    logits = network()(toy.train_x).detach()
    assert history[0]["loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, toy.train_y)), rel=1e-5)
    assert history[0]["accuracy"] == pytest.approx(float((logits.argmax(1) == toy.train_y).float().mean()))


@pytest.mark.parametrize(("settings", "said"), [
    ({"epochs": -1}, "epochs -1: allowed are whole numbers from 0"),
    ({"batch_size": 0}, "batch_size 0: allowed"),
    ({"lr": 0.0}, "lr 0.0: allowed"),
    ({"lr": 1e38, "epochs": 3}, "training diverged"),
])
def test_mistakes_are_one_line(toy, settings, said):
    with pytest.raises(SecateurError, match=said):
        trained(toy, **settings)


def test_no_epochs_change_nothing(toy):
    history, model = trained(toy, epochs=0)
    assert history == []
    assert torch.equal(weights(model), weights(network()))


def test_an_interruption_stops_the_loop():
    stop, rounds = threading.Event(), []

    def run():
        while not stop.wait(0.001):
            rounds.append(1)
            if len(rounds) == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.run_without_denormals(run, stop)
    assert stop.is_set()
    assert len(rounds) == 3


def test_denormals_are_flushed_there_and_not_here():
    tiny = torch.tensor([1e-30])
    inside = loop.run_without_denormals(lambda: (tiny * 1e-12).item(), threading.Event())
    assert (tiny * 1e-12).item() > 0
    assert inside == 0 or not torch.set_flush_denormal(False)


def training(toy, model, **settings):
    batches = TrainingBatches((toy.train_x,), toy.train_y, nn.functional.cross_entropy)
    return loop.Training(model=model, batches=batches, epochs=3, batch_size=50, lr=0.01, **settings)


def test_so_many_steps_are_the_first_ones_with_a_rate_that_falls_over_them(toy):
    seen, short, plain = [], network(), network()
    training(toy, short, seed=7, most_steps=6, on_step=lambda places, *_: seen.append(places)).run()
    optimizer, order = torch.optim.Adam(plain.parameters()), torch.Generator().manual_seed(7)
    parts = [p for _ in range(2) for p in torch.randperm(170, generator=order).split(50)][:6]
    assert [p.tolist() for p in seen] == [p.tolist() for p in parts]
    for step, part in enumerate(parts):
        optimizer.param_groups[0]["lr"] = 0.01 * loop.cosine(step / 6, 0)
        optimizer.zero_grad()
        nn.functional.cross_entropy(plain(toy.train_x[part]), toy.train_y[part]).backward()
        optimizer.step()
    assert torch.allclose(weights(short), weights(plain), atol=1e-6)


def test_only_the_places_that_are_given_are_learned_from(toy):
    seen, places = [], torch.arange(20, 90)
    training(toy, network(), places=places, on_step=lambda at, *_: seen.append(at)).run()
    assert all(sorted(torch.cat(seen[i:i + 2]).tolist()) == places.tolist() for i in (0, 2, 4))


def test_stopped_after_an_epoch_it_does_not_begin_another(toy):
    epochs = []
    run = training(toy, network(), on_epoch=lambda epoch, _: (epochs.append(epoch), run.stop.set()))
    run.run()
    assert epochs == [1]
