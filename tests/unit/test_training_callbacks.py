"""The callbacks inside the real libraries: Lightning, the Hugging Face Trainer, TensorBoard's own reader."""

import importlib
import sys

import pytest
import torch
from support import blobs, tiny
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import secateur as sc
from secateur.core.errors import MissingExtraError, SecateurError
from secateur.training.schedules import Linear

X, Y, _, _ = blobs()
STEPS = 24


def start(model, optimizer):
    return sc.Pruner(model, Linear(0.75, end=16, every=4), optimizer, skip=())


def by_hand(steps=STEPS):
    """The same training as a plain loop: what the callbacks have to give, bit for bit."""
    torch.manual_seed(0)
    net = tiny()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    pruner = start(net, optimizer)
    for number in range(steps):
        part = slice(32 * (number % 8), 32 * (number % 8 + 1))
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(X[part]), Y[part]).backward()
        optimizer.step()
        pruner.step()
    return net


def zeros(net):
    return sum(int((p == 0).sum()) for p in net.parameters())


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.fixture
def lit():
    lightning = pytest.importorskip("lightning.pytorch")

    class Module(lightning.LightningModule):
        def __init__(self, optimizers=1):
            super().__init__()
            torch.manual_seed(0)
            self.net, self.count = tiny(), optimizers

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            made = [torch.optim.SGD(self.net.parameters(), lr=0.1, momentum=0.9) for _ in range(self.count)]
            return made[0] if self.count == 1 else made

    def trainer(folder, epochs, callback, **more):
        return lightning.Trainer(max_epochs=epochs, callbacks=[callback], accelerator="cpu", logger=False,
                                 enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
                                 enable_checkpointing=False, **more)

    return Module, trainer


def loader():
    return DataLoader(TensorDataset(X, Y), 32)


def test_lightning_is_the_loop_by_hand_and_resumes(lit, tmp_path):
    from secateur.training.callbacks.lightning import Pruning

    module, trainer = lit
    whole, callback = module(), Pruning(start)
    trainer(tmp_path, 3, callback).fit(whole, loader())
    assert callback.pruner.steps == STEPS
    assert zeros(whole.net) == 240
    assert same(whole.net, by_hand())
    first = trainer(tmp_path, 1, Pruning(start))
    first.fit(module(), loader())
    first.save_checkpoint(tmp_path / "one.ckpt")
    resumed, callback = module(), Pruning(start)
    trainer(tmp_path, 3, callback).fit(resumed, loader(), ckpt_path=tmp_path / "one.ckpt", weights_only=False)
    assert callback.pruner.steps == STEPS
    assert same(resumed.net, whole.net)


def test_a_schedule_and_a_spec_stand_for_the_function(lit, trainer, tmp_path):
    from secateur.training.callbacks import hugging_face, lightning

    spec, schedule = sc.PruningSpec(skip=()), Linear(0.75, end=16, every=4)
    module, run = lit
    whole = module()
    run(tmp_path, 3, lightning.Pruning(schedule, spec)).fit(whole, loader())
    other = trainer(hugging_face.Pruning(schedule, spec), "spec")
    other.train()
    assert same(whole.net, by_hand())
    assert same(other.model.net, by_hand())


def test_lightning_counts_steps_of_the_optimizer(lit, tmp_path):
    from secateur.training.callbacks.lightning import Pruning

    module, trainer = lit
    callback = Pruning(start)
    trainer(tmp_path, 3, callback, accumulate_grad_batches=2).fit(module(), loader())
    assert callback.pruner.steps == 12
    assert callback.pruner.reached == pytest.approx(0.75 * 12 / 16)


def test_lightning_refuses_two_optimizers(lit, tmp_path):
    from secateur.training.callbacks.lightning import Pruning

    module, trainer = lit
    net = module(2)
    net.automatic_optimization = False
    with pytest.raises(SecateurError, match="2 optimizers"):
        trainer(tmp_path, 1, Pruning(start)).fit(net, loader())


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return {"x": X[i], "labels": Y[i]}


class Wrapped(nn.Module):
    """Takes and gives what the Trainer wants."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = tiny()

    def forward(self, x, labels=None):
        logits = self.net(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    class InOrder(transformers.Trainer):
        def _get_train_sampler(self, *_):
            return torch.utils.data.SequentialSampler(self.train_dataset)

        def create_optimizer(self, *_):
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
            return self.optimizer

    def make(callback, folder="run", steps=STEPS, **more):
        settings = transformers.TrainingArguments(
            output_dir=str(tmp_path / folder), max_steps=steps, per_device_train_batch_size=32, use_cpu=True,
            report_to=[], lr_scheduler_type="constant", max_grad_norm=0.0, save_steps=8, logging_steps=1000,
            disable_tqdm=True, dataloader_pin_memory=False, **more)
        return InOrder(model=Wrapped(), args=settings, train_dataset=Rows(), callbacks=[callback])

    return make


def test_the_hugging_face_trainer_is_the_loop_by_hand_and_resumes(trainer, tmp_path):
    from secateur.training.callbacks.hugging_face import Pruning

    whole, callback = trainer(Pruning(start)), None
    whole.train()
    assert zeros(whole.model) == 240
    assert same(whole.model.net, by_hand())
    assert (tmp_path / "run" / "checkpoint-8" / "pruner.pt").exists()
    callback = Pruning(start)
    resumed = trainer(callback)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-8"))
    assert callback.pruner.steps == STEPS
    assert same(resumed.model, whole.model)


def test_the_hugging_face_trainer_refuses_a_checkpoint_without_a_pruner(trainer, tmp_path):
    from secateur.training.callbacks.hugging_face import Pruning

    trainer(Pruning(start), steps=8).train()
    (tmp_path / "run" / "checkpoint-8" / "pruner.pt").unlink()
    with pytest.raises(SecateurError, match=r"no pruner\.pt in"):
        trainer(Pruning(start)).train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-8"))


def test_rigl_sees_the_gradients_in_both(trainer, lit, tmp_path):
    from secateur.training.callbacks import hugging_face, lightning

    def rigl(model, optimizer):
        return sc.Pruner(model, Linear(0.75, end=16, every=4), optimizer, regrow="rigl", skip=())

    made = hugging_face.Pruning(rigl)
    trainer(made).train()
    module, fit = lit
    other = lightning.Pruning(rigl)
    fit(tmp_path, 3, other).fit(module(), loader())
    assert made.pruner.reached == other.pruner.reached == 0.75
    assert [m.sum() for m in made.pruner.masks.values()] == [m.sum() for m in other.pruner.masks.values()]


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from secateur.training.callbacks.tensorboard import Summaries

    torch.manual_seed(0)
    net = tiny()
    pruner = sc.Pruner(net, Linear(0.75, end=3, every=1), skip=())
    with Summaries(pruner, tmp_path) as summaries:
        for _ in range(3):
            pruner.step()
            summaries.write()
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    layers = ["1.weight", "3.weight", "5.weight"]
    assert set(found.Tags()["scalars"]) == {f"{f}/{n}" for f in ("sparsity", "threshold") for n in layers} | {
        "sparsity/asked", "sparsity/reached"}
    assert [(e.step, round(e.value, 4)) for e in found.Scalars("sparsity/reached")] == [(1, 0.25), (2, 0.5), (3, 0.75)]
    gone = ~pruner.masks["1.weight"]
    assert found.Scalars("threshold/1.weight")[-1].value < float(net[1].weight.detach()[~gone].abs().min())
    assert found.Scalars("sparsity/1.weight")[-1].value == 0.75


@pytest.mark.parametrize(("module", "package"), [
    ("lightning", "lightning"), ("hugging_face", "transformers"), ("tensorboard", "tensorboard")])
def test_a_missing_library_is_one_line_with_the_command(module, package, monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] == package or n.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"secateur.training.callbacks.{module}", raising=False)
    with pytest.raises(MissingExtraError) as caught:
        importlib.import_module(f"secateur.training.callbacks.{module}")
    assert str(caught.value).endswith(f"pip install 'secateur[{package}]'")
    assert "\n" not in str(caught.value)
