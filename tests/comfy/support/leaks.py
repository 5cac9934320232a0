"""What a run could leave behind in MODELs and in the networks they share."""

RENEWED = ("patches_uuid", "current_weight_patches_uuid")  # by ComfyUI, whenever it registers hooks


def state_of(*models):
    """All that a run could change, weights aside: the containers copied, what is in them by reference."""
    return [(_attributes(model), _network(model.model)) for model in models]


def _attributes(thing):
    return {name: _copy(value) for name, value in vars(thing).items() if name not in RENEWED}


def _network(network):
    modules = {
        name: {key: value for key, value in _attributes(module).items() if not key.startswith("_")}
        for name, module in network.named_modules()
    }
    objects = {name: dict(module._modules) for name, module in network.named_modules()}
    return modules, objects


def _copy(value):
    if isinstance(value, dict):
        return {key: _copy(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(entry) for entry in value]
    return set(value) if isinstance(value, set) else value
