"""Writes the pages that are made from the code: `make docs`. A test fails when one of them is stale."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from docs.configuration import configuration_page
from docs.dashboard import dashboard
from docs.decision_index import decisions_page
from docs.limits import limits_page
from docs.metrics import metrics_page
from docs.reference import reference_page

FOLDER: Final = Path(__file__).parent
DECISIONS: Final = FOLDER / "decisions"
CHART: Final = FOLDER.parent / "charts" / "durable-timer"


def pages() -> dict[Path, str]:
    """Each generated page by its file."""
    return {
        FOLDER / "configuration.md": configuration_page(),
        FOLDER / "limits.md": limits_page(),
        FOLDER / "metrics.md": metrics_page(),
        FOLDER / "reference.md": reference_page(),
        DECISIONS / "README.md": decisions_page(DECISIONS),
        CHART / "dashboards" / "durable-timer.json": dashboard(),
    }


if __name__ == "__main__":
    for file, text in pages().items():
        file.write_text(text, encoding="utf-8")
        print(file.relative_to(FOLDER.parent))
