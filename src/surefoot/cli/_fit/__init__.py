"""Laws from a user's table: `surefoot fit scaling | curve | shift`."""

from cyclopts import App

fit = App(name="fit", help="Fit laws to a table: scaling, learning curves, robustness under shift.")
fit.command(
    "surefoot.cli._fit._scaling:scaling",
    name="scaling",
    help="Fit scaling laws: error against compute, data or size, with intervals and held-out error.\n\n"
    "Example: surefoot fit scaling results.csv --x gmacs --y error",
)
fit.command(
    "surefoot.cli._fit._scaling:curve",
    name="curve",
    help="Fit learning curves and extrapolate them.\n\nExample: surefoot fit curve curves.csv --x samples --y loss",
)
fit.command(
    "surefoot.cli._fit._shift:shift",
    name="shift",
    help="Fit the line of accuracy under shift on accuracy in distribution; effective robustness of each model.\n\n"
    "Example: surefoot fit shift accuracies.csv --x val --shifts imagenetv2",
)
