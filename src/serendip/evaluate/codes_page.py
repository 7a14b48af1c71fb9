"""The report on semantic IDs as one HTML page; what ``page`` says of pages holds here, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serendip.evaluate import code_plots, plots
from serendip.evaluate.number_format import percent
from serendip.evaluate.page import render

CODES_TEMPLATE = "codes.html"


def render_codes_page(report: Mapping[str, Any]) -> str:
    """The HTML of ``reports/semantic-ids.json`` (see ``workflow.id_report``)."""
    from markupsafe import Markup

    sizes = [code_plots.code_sizes(level, row) for level, row in enumerate(report["sizes"])]
    return render(
        CODES_TEMPLATE,
        report=report,
        sentences=sentences(report),
        sizes=[Markup(drawing) for drawing in sizes],
        code_use=Markup(plots.code_use(report)),
        collisions=Markup(code_plots.collisions(report["shared_by"])),
        kept=Markup(code_plots.kept(report["kept"])) if report["kept"] else "",
        largest=max((group["items"] for group in report["groups"]), default=1),
    )


def sentences(report: Mapping[str, Any]) -> list[str]:
    """What the codes are worth, in words."""
    told = [f"{percent(report['collision_rate'])} of the items share their full code with another."]
    if report["neighbour_agreement"] is not None:
        share = percent(report["neighbour_agreement"])
        told.append(f"{share} share their first code with the nearest item by content.")
    if report["pair_agreement"] is not None:
        together, chance = (percent(report["pair_agreement"][k]) for k in ("together", "by_chance"))
        told.append(f"{together} of the items chosen together share it ({chance} by chance).")
    if report["kept"]:
        share = percent(report["kept"]["kept_all_levels"])
        told.append(f"{share} of the items keep all codes that they had in {report['parent']}.")
    return told
