"""Training of experts. Needs `requirements-train.txt`."""

import argparse
import logging
import sys
from pathlib import Path

log = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """`python -m mcdm_core train CONFIG`: train what a configuration describes and write it as a file."""
    parser = argparse.ArgumentParser(prog="python -m mcdm_core train", description=main.__doc__)
    parser.add_argument("config", type=Path, help="TOML file, see configs/ and docs/training.md")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of states, logs and drawn data")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="state",
        metavar="FILE",
        help="go on from this run's saved state if there is one, or from the averaged weights of an expert file",
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0 for all")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")

    import torch

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    from .config import read_toml

    sections = read_toml(arguments.config)
    if "dual_encoder" in sections:
        from .dual_encoder import train_from_config

        written = train_from_config(arguments.config, arguments.runs)
    else:
        if "gan" in sections:
            from ..baselines.training import train_gan as train
        elif "autoencoder" in sections:
            from .autoencoder import train_autoencoder as train
        else:
            from .run import train_expert as train

        try:
            written = train(arguments.config, arguments.runs, arguments.resume)
        except KeyboardInterrupt:
            sys.exit(130)  # the state is saved and the log has said so
    log.info("Wrote %s", written)
    return 0
