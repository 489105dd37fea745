"""What the measurements of time, memory and utilisation say of each claim."""

import statistics
from collections.abc import Sequence

from metagrad_studies.core.records import Record, Records
from metagrad_studies.core.study import Finding
from metagrad_studies.fig4.contenders import EXACT, FIRST, KEPT, SINGLY, TOGETHER, TRUNCATED, ConsumptionSettings

_Judged = tuple[str, bool | None]


def findings(settings: ConsumptionSettings, records: Records) -> list[Finding]:
    """The paper's four claims, each judged in every setup."""
    claims = {
        "Binomial leads to markedly reduced memory over MAML.": _memory,
        "The time of Binomial is slightly above that of Truncated.": _beside_truncated,
        f"The time of Binomial matches FOMAML's at L = 0 and MAML's at L = {settings.num_steps}.": _at_the_ends,
        "Binomial leads to markedly reduced compute consumption (utilisation) over MAML.": _busy,
    }
    found: list[Finding] = []
    for claim, judge in claims.items():
        judged = [(shots, *judge(settings, of(records, shots))) for shots in settings.shots]
        verdicts = [held for _, _, held in judged]
        held = None if None in verdicts else all(verdicts)
        found.append(Finding(claim, " ".join(f"{shots}-shot: {text}" for shots, text, _ in judged), held))
    return found


def _memory(settings: ConsumptionSettings, records: Records) -> _Judged:
    kept, exact = (find(records, "memory", name, None)["peak_bytes"] for name in (KEPT, EXACT))
    peaks = [find(records, "memory", TOGETHER, order)["peak_bytes"] for order in range(settings.num_steps + 1)]
    singly = [find(records, "memory", SINGLY, order)["peak_bytes"] for order in range(1, settings.num_steps)]
    text = (
        f"peaks of Binomial at L = 0 to {settings.num_steps} over that of MAML with its graph kept "
        f"{_texts([peak / kept for peak in peaks])}, one link at a time at most {max(singly) / kept:.2f}; MAML that "
        f"recomputes has {exact / kept:.2f}; held where at most {settings.markedly:g}."
    )
    return text, max(peaks) <= settings.markedly * kept


def _beside_truncated(settings: ConsumptionSettings, records: Records) -> _Judged:
    between = range(1, settings.num_steps)
    slower = [time_ratio(records, (TOGETHER, order), (TRUNCATED, order)) for order in between]
    singly = [time_ratio(records, (SINGLY, order), (TRUNCATED, order)) for order in between]
    text = (
        f"ratios at L = 1 to {settings.num_steps - 1} {_texts(slower)}, one link at a time {_texts(singly)}; held "
        f"where between 1 and {settings.slightly:g}."
    )
    return text, all(1 <= ratio <= settings.slightly for ratio in slower)


def _at_the_ends(settings: ConsumptionSettings, records: Records) -> _Judged:
    last = settings.num_steps
    ends = [time_ratio(records, (TOGETHER, 0), (FIRST, None)), time_ratio(records, (TOGETHER, last), (KEPT, None))]
    recomputed = time_ratio(records, (TOGETHER, last), (EXACT, None))
    text = (
        f"ratios {_texts(ends)} (MAML with its graph kept; {recomputed:.2f} to MAML that recomputes); held where "
        f"within a factor of {settings.matching:g}."
    )
    return text, all(1 / settings.matching <= ratio <= settings.matching for ratio in ends)


def _busy(settings: ConsumptionSettings, records: Records) -> _Judged:
    orders = range(settings.num_steps + 1)
    shares = [find(records, "time", TOGETHER, order)["utilisation"] for order in orders]
    kept = find(records, "time", KEPT, None)["utilisation"]
    if kept is None:
        return "the GPU's utilisation was not measured, for pynvml is not installed.", None
    text = (
        f"Binomial's at L = 0 to {settings.num_steps} over MAML's, graph kept, {_texts([s / kept for s in shares])}; "
    )
    text += f"held where at most {settings.markedly:g}."
    return text, all(share <= settings.markedly * kept for share in shares)


def of(records: Records, shots: int) -> list[Record]:
    """The records of one setup."""
    return [record for record in records if record["shots"] == shots]


def find(records: Records, what: str, family: str, order: int | None) -> Record:
    """The record of one contender's "memory" or "time", of one setup's."""
    return next(r for r in records if (r["what"], r["family"], r["order"]) == (what, family, order))


def time_ratio(records: Records, first: tuple[str, int | None], second: tuple[str, int | None]) -> float:
    """Median over turns of the ratio of two contenders' times within a turn."""
    above, below = (find(records, "time", *which)["seconds"] for which in (first, second))
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def _texts(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
