"""Fit of pictures to their captions, by the embeddings of a dual encoder."""

import numpy as np


def caption_score(pictures: np.ndarray, captions: np.ndarray) -> np.ndarray:
    """Cosine between each picture's embedding and its caption's.

    CLIPScore (Hessel et al., 2021) without its factor 2.5 and its floor at 0. Scores of different encoders, or of
    different captions, cannot be compared.

    Args:
        pictures: Embeddings, (N, D).
        captions: Embeddings of their captions in the same space, (N, D).

    Returns:
        −1…1, (N,); NaN where an embedding is zero, as for a caption without known words.

    Raises:
        ValueError: The shapes differ.
    """
    if pictures.ndim != 2 or pictures.shape != captions.shape:
        raise ValueError(
            f"Expected one embedding for each picture and its caption and got {pictures.shape} and {captions.shape}; "
            "pair them."
        )
    lengths = np.linalg.norm(pictures, axis=1) * np.linalg.norm(captions, axis=1)
    with np.errstate(invalid="ignore"):
        scores: np.ndarray = (pictures * captions).sum(axis=1) / lengths
    return scores
