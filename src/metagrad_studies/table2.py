"""The paper's Table 2: the hybrid of expansion and truncation."""

from collections.abc import Sequence
from typing import ClassVar

from metagrad_studies import methods
from metagrad_studies.accuracy import AccuracyStudy
from metagrad_studies.accuracy_settings import AccuracySettings
from metagrad_studies.accuracy_sizes import SEEDS, data_sets
from metagrad_studies.comparing import Compared, compared, counted, most
from metagrad_studies.methods import Method
from metagrad_studies.study import Asked, Finding, Record

_STEPS, _WINDOW, _ORDER = 5, 4, 1  # K, C and L as published


class Table2(AccuracyStudy):
    """Hybrid beside both of its parts, and MAML."""

    name: ClassVar[str] = "table2"
    title: ClassVar[str] = "Few-shot accuracy with the hybrid of Binomial and Truncated"
    source: ClassVar[str] = "BinomGBML (arXiv 2604.13263), Table 2"
    choices: ClassVar[tuple[str, ...]] = (
        "K = 5, L = 1, C = 4 as published; all else as in table1, whose choices hold here too.",
        "The hybrid is not in the paper's code. “Hybrid L/K” takes α' = α·L/K in the expansion, as the paper's other "
        "runs on real data; “Hybrid plain”, “Binomial plain” and MAML beside them are ours.",
    )

    def settings(self, asked: Asked) -> AccuracySettings:
        """As table1's, with other rows."""
        found, missing = data_sets(asked, self.name)
        rows: list[Method] = [methods.first_order(), methods.truncated(_ORDER), methods.binomial_published(_ORDER)]
        rows.append(methods.hybrid_published(_WINDOW, _ORDER, _STEPS))
        if not asked.as_published:
            rows += [methods.binomial_plain(_ORDER), methods.hybrid_plain(_WINDOW, _ORDER)]
        return AccuracySettings(
            data_sets=found,
            methods=(*rows, methods.exact(_STEPS)),
            seeds=SEEDS[:1] if asked.as_published else SEEDS,
            spread="standard error" if asked.as_published else "95 % interval",
            not_found=missing,
        )

    def findings(self, settings: AccuracySettings, records: Sequence[Record]) -> Sequence[Finding]:
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


def _below(settings: AccuracySettings, records: Sequence[Record], name: str) -> list[Compared]:
    one, hybrid = (methods.named(settings.methods, each)[0] for each in (name, "Hybrid L/K"))
    return [compared(records, data, one, hybrid) for data in settings.data_sets]
