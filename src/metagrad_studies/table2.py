"""The paper's Table 2: the hybrid of expansion and truncation."""

from collections.abc import Sequence
from typing import ClassVar

from metagrad_studies.accuracy import methods
from metagrad_studies.accuracy.comparing import Compared, compared, counted, most
from metagrad_studies.accuracy.methods import Method
from metagrad_studies.accuracy.settings import AccuracySettings
from metagrad_studies.accuracy.sizes import SEEDS, data_sets
from metagrad_studies.accuracy.study import AccuracyStudy
from metagrad_studies.core.records import Records
from metagrad_studies.core.study import Finding, Request

_STEPS, _WINDOW, _ORDER = 5, 4, 1  # K, C and L as published


class Table2(AccuracyStudy):
    """Hybrid beside both of its parts, and MAML."""

    name: ClassVar[str] = "table2"
    title: ClassVar[str] = "Few-shot accuracy with the hybrid of Binomial and Truncated"
    source: ClassVar[str] = "BinomGBML (arXiv 2604.13263), Table 2"
    corrected: ClassVar[bool] = True
    choices: ClassVar[tuple[str, ...]] = (
        "K = 5, L = 1, C = 4 as published; all else as in table1, whose choices hold here too.",
        "The hybrid is not in the paper's code. “Hybrid L/K” takes α' = α·L/K in the expansion, as the paper's other "
        "runs on real data; “Hybrid plain”, “Binomial plain” and MAML beside them are ours.",
    )

    def settings(self, request: Request) -> AccuracySettings:
        """As table1's, with other rows."""
        found, missing = data_sets(request, self.name)
        rows: list[Method] = [methods.first_order(), methods.truncated(_ORDER), methods.binomial_published(_ORDER)]
        rows.append(methods.hybrid_published(_WINDOW, _ORDER, _STEPS))
        if not request.as_published:
            rows += [methods.binomial_plain(_ORDER), methods.hybrid_plain(_WINDOW, _ORDER)]
        return AccuracySettings(
            data_sets=found,
            methods=(*rows, methods.exact(_STEPS)),
            seeds=SEEDS[:1] if request.as_published else SEEDS,
            spread="standard error" if request.as_published else "95 % interval",
            not_found=missing,
        )

    def findings(self, settings: AccuracySettings, records: Records) -> Sequence[Finding]:
        """The one sentence that the paper has on it."""
        pairs = [*_below(settings, records, "Truncated"), *_below(settings, records, "Binomial L/K")]
        each = "; ".join(str(pair) for pair in pairs)
        return [
            Finding(
                "Overall, the hybrid performs slightly worse than TruncMAML and BinomMAML.",
                f"The two minus the hybrid: {counted(pairs)} ({each}).",
                most(pairs),
            )
        ]


def _below(settings: AccuracySettings, records: Records, name: str) -> list[Compared]:
    one, hybrid = (methods.named(settings.methods, each)[0] for each in (name, "Hybrid L/K"))
    return [compared(records, data, one, hybrid) for data in settings.data_sets]


STUDY = Table2()
