"""The rows that networks were given in a run, compared with those of the plain product."""

import logging
from collections.abc import Collection, Sequence

from .evaluation import Evaluation
from .method import Method

logger = logging.getLogger(__name__)


class SavedRows(Method):
    """Counts rows, and logs at the end of a run how many were saved."""

    def __init__(self) -> None:
        self.forget()

    def begin(self, levels: Sequence[float], kept: Collection[int] = ()) -> None:
        """See `Method`."""
        self.forget()

    def forget(self) -> None:
        """See `Method`."""
        self._asked = self._plain = 0

    def note(self, evaluation: Evaluation) -> None:
        """See `Method`."""
        self._asked += evaluation.rows
        self._plain += evaluation.plain_rows

    def end(self) -> None:
        """See `Method`."""
        if self._plain:
            saved = self._plain - self._asked
            logger.info(
                "Fewer passes: networks were asked %d rows in place of %d; %d were saved (%.1f %%).",
                *(self._asked, self._plain, saved, 100 * saved / self._plain),
            )
