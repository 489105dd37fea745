"""The studies that come with metagrad: a line here, and a module of the same name that holds its `STUDY`."""

from metagrad_studies.core.catalogue import Catalogue

STUDIES = Catalogue(
    "metagrad_studies",
    (
        "fig2",
        "fig3a",
        "fig3b",
        "fig4",
        "fig5",
        "table1",
        "table2",
        "anil",
        "error-and-accuracy",
        "order-and-accuracy",
        "fobmaml-bias",
        "fobmaml-memory",
        "fobmaml-mnist1d",
        "smoothness",
        "error-vs-order",
        "error-grid",
    ),
)
