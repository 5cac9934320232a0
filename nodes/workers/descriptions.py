"""Descriptions of a MODEL's noise schedule and latent space, from which a ComfyUI without its weights rebuilds them.

Classes are sent by name, and only those of ComfyUI and of this pack are accepted. A family of ComfyUI's may define
classes beside its network: they are looked up among the modules already imported. No code is sent or run.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import comfy.latent_formats
import comfy.model_sampling
import comfy_extras.nodes_model_advanced
from torch import Tensor, nn

from ...mcdm_core import Schedule
from ..host.files import latent_formats, schedule_sampling
from .wire import to_buffer, to_tensor

_SAMPLING_MODULES = {"core": comfy.model_sampling, "mcdm": schedule_sampling, "node": comfy_extras.nodes_model_advanced}
_LATENT_MODULES = {"core": comfy.latent_formats, "mcdm": latent_formats}
_COMFYUI_PREFIX = "comfy."  # of the names of ComfyUI's modules
_LATENTS = (comfy.latent_formats.LatentFormat,)
_SAMPLINGS = tuple(
    kind
    for kind in vars(comfy.model_sampling).values()
    if isinstance(kind, type) and kind.__module__ == comfy.model_sampling.__name__
)
_IN_EVERY_CLASS = {"__module__", "__doc__", "__qualname__", "__dict__", "__weakref__", "__static_attributes__"}
_IN_EVERY_CLASS |= {"__firstlineno__"}


def describe_sampling(sampling: Any) -> dict[str, Any]:
    """Describe a model_sampling object.

    Raises:
        ValueError: If its class is from a node of another pack.
    """
    names = [_name_of(kind, _SAMPLING_MODULES, _SAMPLINGS) for kind in _named_kinds(type(sampling))]
    if None in names:
        raise ValueError(
            f"Expected a noise schedule of ComfyUI's own or of this pack and got {type(sampling).__qualname__}; remove "
            "the node that made it."
        )
    buffers = {name: to_buffer(buffer) for name, buffer in sampling.named_buffers()}
    return {"classes": names, "buffers": buffers, "values": _values(vars(sampling))}


def make_sampling(described: dict[str, Any]) -> Any:
    """Rebuild the object that `describe_sampling` described.

    Raises:
        ValueError: If this ComfyUI lacks one of its classes.
    """
    kinds = tuple(_find(name, _SAMPLING_MODULES, _SAMPLINGS) for name in described["classes"])
    kind = type("RemoteSampling", kinds, {}) if len(kinds) > 1 else kinds[0]
    made: Any = object.__new__(kind)
    nn.Module.__init__(made)
    for name, buffer in described["buffers"].items():
        made.register_buffer(name, to_tensor(buffer))
    _set(made, described["values"])
    return made


def describe_latents(latent_format: Any) -> dict[str, Any]:
    """Describe a latent format.

    Raises:
        ValueError: If its class is from a node of another pack.
    """
    name = _name_of(type(latent_format), _LATENT_MODULES, _LATENTS)
    if name is None:
        raise ValueError(
            f"Expected a latent format of ComfyUI's own or of this pack and got {type(latent_format).__qualname__}; "
            "remove the node that made it."
        )
    held = {key: value for key, value in vars(latent_format).items() if not callable(value)}  # functions: of previews
    return {"class": name, "values": _values(held)}


def make_latents(described: dict[str, Any]) -> Any:
    """Rebuild the object that `describe_latents` described.

    Raises:
        ValueError: If this ComfyUI lacks its class.
    """
    kind = _find(described["class"], _LATENT_MODULES, _LATENTS)
    # ComfyUI's own need no arguments, and set what no description has: the function by which previews see Flux 2.
    made: Any = object.__new__(kind) if issubclass(kind, latent_formats.LatentSpace) else kind()
    _set(made, described["values"])
    return made


def _named_kinds(kind: type) -> tuple[type, ...]:
    """The class itself, or the bases of a local class that adds nothing to them."""
    joins = set(vars(kind)) <= _IN_EVERY_CLASS and "<locals>" in kind.__qualname__
    return kind.__bases__ if joins else (kind,)


def _name_of(kind: type, modules: dict[str, ModuleType], bases: tuple[type, ...]) -> str | None:
    names = (f"{key}:{kind.__name__}" for key in (*modules, kind.__module__))
    return next((name for name in names if _known(name, modules, bases) is kind), None)


def _find(name: Any, modules: dict[str, ModuleType], bases: tuple[type, ...]) -> type:
    kind = _known(str(name), modules, bases)
    if kind is None:
        raise ValueError(f"Expected a schedule or latents that are known here and got {name}; use the same ComfyUI.")
    return kind


def _known(name: str, modules: dict[str, ModuleType], bases: tuple[type, ...]) -> type | None:
    """The class named "module:class", if it derives from one of these bases; else None.

    The module is named by its key in `modules`. Any imported module of ComfyUI's can be named in full, for the classes
    that it defines itself.
    """
    key, _, kind_name = name.partition(":")
    family = sys.modules.get(key) if key.startswith(_COMFYUI_PREFIX) else None
    module = modules.get(key, family)
    kind = None if module is None else vars(module).get(kind_name)
    fits = isinstance(kind, type) and issubclass(kind, bases) and (key in modules or kind.__module__ == key)
    return kind if fits else None


def _values(held: dict[str, Any]) -> dict[str, Any]:
    """The attributes of an object, without its buffers and torch's own attributes."""
    told = {name: value for name, value in held.items() if not name.startswith("_") and name != "training"}
    return {name: _value_of(name, value) for name, value in told.items()}


def _set(thing: Any, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if name.startswith("_") or (hasattr(type(thing), name) and callable(getattr(type(thing), name))):
            raise ValueError(f"Expected numbers of a schedule or latents and got {name}; use the same ComfyUI.")
        setattr(thing, name, _value_from(value))


def _value_of(name: str, value: Any) -> Any:
    if isinstance(value, Schedule):
        return {"schedule": to_buffer(value.alphas_cumprod)}
    if isinstance(value, Tensor):
        return {"tensor": to_buffer(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_value_of(name, each) for each in value]
    raise ValueError(
        f"Expected a noise schedule and latents of numbers and got {type(value).__name__} as {name}; such a model "
        "can't be on a worker."
    )


def _value_from(value: Any) -> Any:
    if isinstance(value, dict):
        (kind, buffer), *_ = value.items()
        return Schedule(to_tensor(buffer)) if kind == "schedule" else to_tensor(buffer)
    return [_value_from(each) for each in value] if isinstance(value, list) else value
