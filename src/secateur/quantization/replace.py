"""Put layers in eight bits, or in bfloat16, in the place of others."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from secateur.core.modules import place_in


def replace_layers(model: nn.Module, made: Mapping[str, nn.Module]) -> nn.Module:
    """Replace layers of a network in place; a layer that stands under several names is replaced under each.

    Args:
        model: the network.
        made: the new layers, by one name of the old ones; the empty name is the network itself.

    Returns:
        The network, or the new layer where the network itself was one.
    """
    if "" in made:
        return made[""]
    new = {id(model.get_submodule(name)): layer for name, layer in made.items()}
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if id(module) in new:
            home, last = place_in(model, name)
            setattr(home, last, new[id(module)].train(module.training))
    for module in model.modules():
        # In evaluation mode torch would compute a whole encoder layer from the weights of its parts, without calls.
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0
    return model
