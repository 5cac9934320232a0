"""Pictures by which the pages show what weights, masks, LoRAs and latent spaces do; drawn by the experts at hand.

No seed is chosen: rows and faces have the seeds 0, 1, 2 and so on. Needs `requirements-train.txt`.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from mcdm_core.cli.output import check_folder
from mcdm_core.cli.values import positive
from mcdm_core.system.formats import write_bytes

log = logging.getLogger(__name__)

NAMES = ("weight", "regions", "lora_pair", "two_spaces")


def main(argv: Sequence[str]) -> int:
    """`python -m studies gallery [NAME …]`: draw the pictures of the pages that show what a product does.

    Raises:
        ValueError: The folder is not there.
        WriteError: A picture could not be written; what its file held before is unchanged.
    """
    parser = argparse.ArgumentParser(prog="python -m studies gallery", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (all)")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder whose pictures are replaced (docs)")
    parser.add_argument("--steps", type=positive, default=0, help="steps at most, for a quick look")
    arguments = parser.parse_args(argv)
    if strangers := [name for name in arguments.names if name not in NAMES]:
        parser.error(f"there is no picture {strangers[0]!r}; choose from {', '.join(NAMES)}")
    check_folder(arguments.out)
    for name in arguments.names or NAMES:
        file, content = _draw(name, arguments.steps)
        write_bytes(arguments.out / file, content)
        log.info("Wrote %s, %.0f kB", arguments.out / file, len(content) / 1000)
    return 0


def _draw(name: str, most_steps: int) -> tuple[str, bytes]:
    """The name of a picture's file, and its content; `most_steps` is 0 where the picture's own number counts."""
    from mcdm_core.pictures.files import encoded

    from .lora_pair import draw_lora_pair
    from .regions import draw_regions
    from .two_spaces import draw_two_spaces
    from .weight import animated, draw_weight

    if name == "weight":
        return "weight.webp", animated(draw_weight(most_steps))
    draw = {"regions": draw_regions, "lora_pair": draw_lora_pair, "two_spaces": draw_two_spaces}[name]
    return f"{name}.jpg", encoded(draw(most_steps), "JPEG")
