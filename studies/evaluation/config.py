"""Configuration of an evaluation, read from a TOML file; studies/evaluation.md explains it by examples."""

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcdm_core.diffusion.respacing import space_timesteps
from mcdm_core.product.methods.passes import Passes
from mcdm_core.product.terms.term_numbers import TermNumbers
from mcdm_core.sampling.operations import Logic
from mcdm_core.training.config import build, read_toml

from .methods import Choice

BATCH = 20  # pictures per file of samples
RULES = ("product", "own-null", "gan")
VARIED = ("weight", "reliability", "steps")
NOTHING = "nothing"  # condition that is the null
NOT = "not "  # prefix of a map's name in a mask that is the map's inverse
METHODS: dict[str, type] = {"passes": Passes, "choose": Choice, "logic": Logic}
"""Table of a setting → its dataclass."""


@dataclass(frozen=True)
class DataConfig:
    """The held-out pictures whose conditions are requested.

    Attributes:
        kind: "faces", "color pairs" (see `ColorPairs`) or "scenes", which are drawn, or "folder", the user's pictures.
        seed: First seed of drawn pictures.
        count: Number of pictures; for a folder, 0 takes all.
        leading: Attribute → the value that 70 % of drawn faces have; the others are uniform. For color pairs, the value
            that is never requested.
        asked: Combinations of values that color pairs request instead, in the order of `leading`.
        spread: How much drawn faces turn, stretch and move, see `draw_face`.
        path: The folder, relative to the configuration file: pictures in `images`, maps in subfolders named after them,
            captions in `captions`.
        image_size: Side in pixels at which pictures are drawn, 64 or 256, or to which a folder's are resized.
        features: File of torchvision's ResNet weights for the distances of a folder's pictures, relative to the
            configuration file. Drawn pictures have their own network.
    """

    kind: str
    seed: int = 0
    count: int = 0
    leading: dict[str, str] = field(default_factory=dict)
    asked: tuple[tuple[str, ...], ...] = ()
    spread: float = 1.0
    path: str = ""
    image_size: int = 64
    features: str = ""


@dataclass(frozen=True)
class TermConfig(TermNumbers):
    """One expert of a setting: its numbers (see `TermNumbers`), and its conditions.

    Attributes:
        expert: One of `[experts]`.
        condition: Conditions from the held-out picture: "hair", "skin" or any other map, "sketch", "text", "class".
            Several maps of one network share a row. "hair_color", or any other attribute that captions name, is a
            caption of that attribute alone; "nothing" is the null as a condition.
        shift: The condition is that of the picture this many indices later (0: of the picture itself).
        lora: Those of `[loras]` to add to the expert's weights, one or more; empty for none.
        strength: Factor of each of them; 1 is as trained.
        mask: Where it acts: "hair" or any other map of the held-out picture, or "not hair"; of drawn pictures also
            "left", their left half; empty for everywhere.
    """

    expert: str
    condition: tuple[str, ...] = ()
    shift: int = 0
    lora: tuple[str, ...] = field(default=(), kw_only=True)
    strength: float = field(default=1.0, kw_only=True)
    mask: str = field(default="", kw_only=True)

    @property
    def masking_map(self) -> str:
        """Name of the map in its mask; empty without a mask."""
        return self.mask.removeprefix(NOT)

    @property
    def label(self) -> str:
        """The expert's name."""
        return self.expert


@dataclass(frozen=True)
class Setting:
    """How one row of the table is sampled.

    Attributes:
        name: Name of the row, and of the line of a plot.
        terms: The experts.
        rule: "product" is Eq. 10, "own-null" composable diffusion; "gan" samples from the one expert named, a GAN.
        steps: DDIM steps.
        eta: η of DDIM; 0 is its ODE, 1 ancestral sampling.
        autocast: Use bfloat16 for convolutions and matrix products, as in training: faster on most processors.
        count: Number of pictures, from the first on; 0 is all.
        passes: Passes that the run may skip, see `Passes`.
        vary: Setting to vary: "weight" of all experts whose weight is not 0, "reliability" of the first (the others
            share the rest), or "steps"; empty for a single row.
        values: Values of the varied setting, a row each.
        value: The value of this row.
        choose: Sample several candidates per picture, and keep the best.
        logic: Combine the experts by logic instead of multiplying them, ancestrally and so with η = 1.
        equal_scales: Step a product of several spaces, by DDIM, with all of them at one noise level.
        together: Pictures sampled in one batch, 0…20; adaptive passes are skipped only where all pictures of a batch
            allow it; 0 takes 20.
        candidate: Index of this candidate of a picture; 0 is the plain sample.
        spacing: These steps where they aren't evenly spaced, as `space_timesteps` takes them: "4,3,3", say. A last
            section of one begins below the highest noise level.
    """

    name: str
    terms: tuple[TermConfig, ...]
    rule: str = "product"
    steps: int = 50
    eta: float = 0.0
    autocast: bool = False
    count: int = 0
    passes: Passes = field(default=Passes())
    vary: str = ""
    values: tuple[float, ...] = ()
    value: float | None = None
    choose: Choice | None = None
    logic: Logic | None = None
    equal_scales: bool = False
    together: int = 0
    candidate: int = 0
    spacing: str = ""

    @property
    def label(self) -> str:
        """The row's name, with the varied setting's value."""
        return f"{self.name}, {self.vary} {self.value:g}" if self.vary else self.name

    @property
    def timesteps(self) -> str:
        """The steps, as `space_timesteps` takes them."""
        return self.spacing or str(self.steps)

    def rows(self) -> "list[Setting]":
        """This setting at every value."""
        return [self._at(value) for value in sorted(set(self.values))] if self.vary else [self]

    def _at(self, value: float) -> "Setting":
        if self.vary == "steps":
            changes: dict[str, Any] = {"steps": int(value)}
        elif self.vary == "weight":
            weights = [math.copysign(1.0, term.weight) * value if term.weight else 0.0 for term in self.terms]
            pairs = zip(self.terms, weights, strict=True)
            changes = {"terms": tuple(dataclasses.replace(term, weight=weight) for term, weight in pairs)}
        else:
            shares = [value, *([(1 - value) / (len(self.terms) - 1)] * (len(self.terms) - 1))]
            pairs = zip(self.terms, shares, strict=True)
            changes = {"terms": tuple(dataclasses.replace(term, reliability=share) for term, share in pairs)}
        return dataclasses.replace(self, value=value, **changes)


@dataclass(frozen=True)
class EvaluationConfig:
    """One evaluation.

    Attributes:
        title: Title above the table.
        data: Held-out pictures.
        experts: Name → file, relative to the configuration file.
        loras: Name → file of LoRAs; names differ from the experts'.
        settings: The rows.
        measures: Groups of measures, see studies/evaluation.md; empty takes all of the data's own.
        shown: Number of pictures of each setting in `samples.png`.
        tabled: Measures of the table; empty takes all. `figures.csv` always has all of them.
        plotted: Measures of the plot; empty takes the first ones.
        note: Text below the table.
        against: Label of the row that all others are compared with picture by picture, in `differences.md` and by the
            measure `likeness`.
        across: Measure on the plots' x axis, "rows per picture" say; empty takes the varied setting, if there is one.
    """

    title: str
    data: DataConfig
    experts: dict[str, Path]
    settings: tuple[Setting, ...]
    measures: tuple[str, ...] = ()
    shown: int = 6
    tabled: tuple[str, ...] = ()
    plotted: tuple[str, ...] = ()
    note: str = ""
    against: str = ""
    across: str = ""
    loras: dict[str, Path] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, Path]:
        """Name → file, of experts and LoRAs."""
        return self.experts | self.loras

    @property
    def rows(self) -> list[Setting]:
        """All rows of the table: each setting at every value of what it varies."""
        return [row for setting in self.settings for row in setting.rows()]


def load_evaluation(path: Path, count: int = 0, steps: int = 0) -> EvaluationConfig:
    """Read a configuration.

    Args:
        path: The TOML file.
        count: Most pictures of every setting, for a quick look; 0 as configured.
        steps: Most DDIM steps of every setting; 0 as configured.

    Raises:
        ValueError: The file is no TOML, or an entry is unknown, missing, of another type or cannot be used.
    """
    values = read_toml(path)
    defaults = values.pop("sampling", {})
    data = build(DataConfig, values.pop("data", {}), f"[data] of {path.name}")
    if not isinstance(values.get("settings"), list) or not values["settings"]:
        raise ValueError(f"Expected [[settings]] in {path.name} and found none; add one for each row of the table.")
    if not isinstance(values.get("experts"), dict):
        raise ValueError(f"Expected [experts] in {path.name} and found none; name each expert's file.")
    settings = [_setting(defaults, entry, path.name) for entry in values.pop("settings")]
    experts = {name: _expert(name, file, path) for name, file in values.pop("experts").items()}
    files = values.pop("loras", {})
    if not isinstance(files, dict):
        raise ValueError(f"Expected [loras] of {path.name} to be a table and got {files!r}; name each LoRA's file.")
    if twice := sorted(files.keys() & experts.keys()):
        raise ValueError(f"{path.name} has {twice[0]!r} in [experts] and in [loras]; rename one of them.")
    loras = {name: _expert(name, file, path) for name, file in files.items()}
    data = dataclasses.replace(
        data,
        path=str(path.parent / data.path) if data.path else "",
        features=str(path.parent / data.features) if data.features else "",
        count=min(filter(None, (data.count, count)), default=0),
    )
    values |= {
        "data": data,
        "experts": experts,
        "loras": loras,
        "settings": tuple(_reduced(s, count, steps) for s in settings),
    }
    config: EvaluationConfig = build(EvaluationConfig, values, path.name)
    if config.data.count < 0:
        raise ValueError(f"[data] of {path.name} has count = {config.data.count}; give a number of pictures.")
    for setting in config.settings:
        _check(setting, config.experts, loras)
    _check_names(config.settings, path.name)
    if config.against and config.against not in (labels := [row.label for row in config.rows]):
        raise ValueError(
            f"Expected the name of a row as `against` of {path.name} and got {config.against!r}; there are "
            f"{', '.join(map(repr, labels))}."
        )
    return config


def _setting(defaults: Any, entry: Any, where: str) -> Setting:
    for values, section in ((defaults, "[sampling]"), (entry, "each of the settings")):
        if not isinstance(values, dict):
            raise ValueError(f"Expected {section} of {where} to be a table and got {values!r}; name its values.")
    values = defaults | entry
    name, terms = values.get("name", "without a name"), values.get("terms", [])
    if not isinstance(terms, list):
        raise ValueError(
            f"Expected a list as the terms of {name!r} in {where} and got {terms!r}; write terms = "
            '[{ expert = "…", condition = "…" }].'
        )
    built = tuple(build(TermConfig, _listed(term), f"a term of {name!r} in {where}") for term in terms)
    methods = {
        key: build(method, values[key], f"{key} of {name!r} in {where}")
        for key, method in METHODS.items()
        if key in values
    }
    setting: Setting = build(Setting, values | {"terms": built} | methods, f"the setting {name!r} of {where}")
    return setting


def _listed(term: Any) -> Any:
    """A term whose conditions and LoRAs are lists; a single one may be written without brackets."""
    if not isinstance(term, dict):
        return term
    return term | {name: [term[name]] for name in ("condition", "lora") if isinstance(term.get(name), str)}


def _expert(name: str, file: Any, config: Path) -> Path:
    if not isinstance(file, str):
        raise ValueError(
            f"Expected the path of a file for the expert {name!r} in [experts] of {config.name} and got {file!r}; "
            "correct it."
        )
    return (config.parent / file).resolve()


def _reduced(setting: Setting, count: int, steps: int) -> Setting:
    return dataclasses.replace(
        setting,
        count=min(filter(None, (setting.count, count)), default=0),
        steps=min(setting.steps, steps) if steps else setting.steps,
        spacing="" if steps and steps < setting.steps else setting.spacing,
        values=tuple(min(value, steps) for value in setting.values)
        if steps and setting.vary == "steps"
        else setting.values,
    )


def _check(setting: Setting, experts: dict[str, Path], loras: dict[str, Path]) -> None:
    if not setting.terms:
        raise ValueError(f"The setting {setting.name!r} has no terms; name an expert or more.")
    for term in setting.terms:
        if term.expert not in experts:
            raise ValueError(
                f"The setting {setting.name!r} asks for the expert {term.expert!r}, and [experts] has "
                f"{', '.join(experts) or 'none'}; name one of these, or add its file."
            )
        if unknown := [name for name in term.lora if name not in loras]:
            raise ValueError(
                f"The setting {setting.name!r} asks for the LoRA {unknown[0]!r}, and [loras] has "
                f"{', '.join(loras) or 'none'}; name one of these, or add its file."
            )
        if term.strength != 1 and not term.lora:
            raise ValueError(
                f"The setting {setting.name!r} gives {term.expert!r} a strength of {term.strength:g} and no LoRA; "
                "name one, or leave the strength out."
            )
    if setting.rule not in RULES:
        raise ValueError(f"The rule of {setting.name!r} is {setting.rule!r}; choose one of {', '.join(RULES)}.")
    if setting.rule == "gan" and len(setting.terms) > 1:
        raise ValueError(f"{setting.name!r} asks a GAN and has {len(setting.terms)} terms; name the GAN alone.")
    if setting.steps < 1:
        raise ValueError(f"{setting.name!r} takes {setting.steps} steps; take one or more.")
    _check_spacing(setting)
    if setting.count < 0:
        raise ValueError(f"{setting.name!r} has count = {setting.count}; give a number of pictures, or 0 for all.")
    if setting.vary not in ("", *VARIED) or bool(setting.vary) != bool(setting.values):
        raise ValueError(
            f"{setting.name!r} varies {setting.vary or 'nothing'!r} over {list(setting.values)}; vary one of "
            f"{', '.join(VARIED)} over one value or more."
        )
    if setting.vary == "reliability" and len(setting.terms) < 2:
        raise ValueError(f"{setting.name!r} varies the reliability of a single expert, which is always 1; add another.")
    if setting.vary == "steps" and (wrong := [v for v in setting.values if v < 1 or not float(v).is_integer()]):
        raise ValueError(f"{setting.name!r} varies its steps and takes {wrong[0]:g}; take whole numbers from 1 on.")
    for row in setting.rows():
        _check_methods(row)


def _check_methods(setting: Setting) -> None:
    """Refuse methods without effect, or that exclude each other."""
    named = [key for key in ("choose", "logic", "equal_scales") if getattr(setting, key)]
    of_terms = [name for name in ("lora", "mask") if any(getattr(term, name) for term in setting.terms)]
    counts = [key for key in ("together", "candidate") if getattr(setting, key)]
    unused = [*named, *counts, *(["passes"] if setting.passes.methods() else []), *of_terms]
    if setting.rule == "gan" and unused:
        raise ValueError(f"{setting.name!r} asks a GAN, which has no {unused[0]}; leave that out.")
    if len(named) > 1:
        raise ValueError(f"{setting.name!r} asks for {' and '.join(named)}; compare them in settings of their own.")
    if setting.logic:
        _check_logic(setting, setting.logic)
    if setting.equal_scales and (setting.rule != "product" or setting.passes.methods()):
        raise ValueError(
            f'{setting.name!r} has equal_scales, which work with the rule "product", without passes; leave these out.'
        )
    if not 0 <= setting.together <= BATCH:
        raise ValueError(
            f"{setting.name!r} samples {setting.together} pictures together; take 1 to {BATCH}, or 0 for {BATCH}."
        )
    if setting.candidate:
        raise ValueError(f"{setting.name!r} names a candidate, which `choose` does itself; leave it out.")


def _check_logic(setting: Setting, logic: Logic) -> None:
    if setting.eta != 1:
        raise ValueError(f"{setting.name!r} has logic, sampled ancestrally, and η = {setting.eta:g}; set eta = 1.")
    if not any(term.weight > 0 for term in setting.terms):
        raise ValueError(f"{setting.name!r} has logic and excludes all of its experts; give one a weight above 0.")
    if logic.priors and len(logic.priors) != len(setting.terms):
        raise ValueError(
            f"{setting.name!r} has {len(logic.priors)} priors for {len(setting.terms)} terms; give one for each, or "
            "none."
        )


def _check_names(settings: tuple[Setting, ...], where: str) -> None:
    """Check that names of rows, and of lines of a plot, are unique."""
    names = [name for s in settings for name in ([s.name] if s.vary else []) + [row.label for row in s.rows()]]
    if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise ValueError(f"{where} has several rows named {repeated[0]!r}; give each a name of its own.")


def _check_spacing(setting: Setting) -> None:
    if not setting.spacing:
        return
    if setting.vary == "steps" or setting.rule == "gan":
        raise ValueError(f"{setting.name!r} has no steps of its own to space; leave its spacing out.")
    try:
        count = len(space_timesteps(setting.spacing))
    except ValueError as error:
        raise ValueError(f"The spacing of {setting.name!r} cannot be used. {error}") from error
    if count != setting.steps:
        raise ValueError(
            f"Expected a spacing of {setting.steps} steps for {setting.name!r} and got {setting.spacing!r}, which has "
            f"{count}; correct one of them."
        )
