"""Figure and tables of fig3b."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metagrad_studies.core.plots import COLORS
from metagrad_studies.core.records import Records
from metagrad_studies.core.study import Listing
from metagrad_studies.fig3b.records import HEADS, OrderErrorsSettings, draws, gain, gains, mean, with_interval


def figure(settings: OrderErrorsSettings, records: Records) -> Figure:
    """Errors over L at some step sizes, and the factor between the two families at L = K − 1 over all."""
    figure = Figure(figsize=(15, 3.9), layout="constrained")
    panels = figure.subplots(1, len(settings.shown_alphas) + 1, squeeze=False)[0]
    for axes, alpha in zip(panels[:-1], settings.shown_alphas, strict=True):
        _draw_orders(axes, settings, [r for r in records if r["alpha"] == alpha and r["head"] == "zero"])
        axes.set_title(f"α = {alpha:g}, {HEADS['zero']}", fontsize=10)
    limits = [axes.get_ylim() for axes in panels[:-1]]
    for axes in panels[:-1]:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    panels[0].set_ylabel("relative error of a mini-batch's\nmeta-gradient, mean and range over weights")
    panels[0].legend(frameon=False, fontsize=8, loc="lower left")
    _draw_factors(panels[-1], settings, records)
    return figure


def listings(settings: OrderErrorsSettings, records: Records) -> list[Listing]:
    """Errors by step size and order, with 95 % intervals over draws of the weights; and the factors."""
    errors = [
        (
            f"{alpha:g}",
            str(order),
            *(with_interval(draws(records, "zero", alpha, family, order)) for family in ("Truncated", "Binomial")),
            f"{mean(draws(records, 'zero', alpha, 'Binomial', order, 'bound')):.2g}",
        )
        for alpha in settings.alphas
        for order in range(settings.num_steps)
    ]
    last = settings.num_steps - 1
    factors = [
        (
            f"{alpha:g}",
            f"{mean(draws(records, head, alpha, 'Binomial', last, 'curvature')):.3f}",
            HEADS[head],
            f"{gain(records, head, alpha, last):.3g}",
            f"{min(singly):.2g} to {max(singly):.2g}",
        )
        for head in settings.batches
        for alpha in settings.alphas
        for singly in [gains(records, head, alpha, last)]
    ]
    return [
        Listing(
            "Relative error of a mini-batch's meta-gradient (head at zero; ± 95 % over weights; L = 0: FirstOrder)",
            ("α", "L", "Truncated", "Binomial", "bound of Binomial (theorem 3.6)"),
            tuple(errors),
        ),
        Listing(
            f"Error of Truncated({last}) over error of Binomial({last})",
            ("α", "largest ‖αH‖, mean over tasks", "network", "factor of the means", "single draws of weights"),
            tuple(factors),
        ),
    ]


def _draw_orders(axes: Axes, settings: OrderErrorsSettings, records: Records) -> None:
    for family in ("Truncated", "Binomial"):
        orders = range(settings.num_steps)
        columns = [
            [r for r in records if r["order"] == order and r["estimator"] == (family if order else "FirstOrder")]
            for order in orders
        ]
        values = [[r["error"] for r in column] for column in columns]
        color = COLORS[family]
        axes.fill_between(orders, [min(v) for v in values], [max(v) for v in values], color=color, alpha=0.18, lw=0)
        axes.plot(orders, [mean(v) for v in values], color=color, marker="o", markersize=4, label=family)
        bounds = [mean([r["bound"] for r in column]) for column in columns]
        axes.plot(orders, bounds, color=color, linestyle="--", linewidth=1, label=f"theorem 3.6, {family}")
    axes.set_yscale("log")
    axes.set_xticks(range(settings.num_steps), ["0\nFirstOrder", *map(str, range(1, settings.num_steps))])
    axes.set_xlabel("order or window L")


def _draw_factors(axes: Axes, settings: OrderErrorsSettings, records: Records) -> None:
    last = settings.num_steps - 1
    axes.axhspan(1e3, 1e4, color="0.5", alpha=0.2, lw=0, label="the paper's 10³ to 10⁴")
    for head, style in zip(settings.batches, ("-", "--"), strict=False):
        factors = [gains(records, head, alpha, last) for alpha in settings.alphas]
        joint = [gain(records, head, alpha, last) for alpha in settings.alphas]
        axes.plot(settings.alphas, joint, style, color=COLORS["Binomial"], marker="o", markersize=4, label=HEADS[head])
        if head == "zero":
            low, high = [min(f) for f in factors], [max(f) for f in factors]
            axes.fill_between(settings.alphas, low, high, color=COLORS["Binomial"], alpha=0.15, lw=0)
    axes.axhline(1, color="0.6", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(f"L = {last}", fontsize=10)
    axes.set_xlabel("inner step size α")
    axes.set_ylabel("error of Truncated / error of Binomial")
    axes.legend(frameon=False, fontsize=8)
