"""Laws from a user's table: `surefoot fit scaling | curve | shift | mixture`."""

from cyclopts import App

fit = App(name="fit", help="Fit laws to a table: scaling, learning curves, robustness under shift, mixtures.")
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
fit.command(
    "surefoot.cli._fit._mixture:mixture",
    name="mixture",
    help="Say which shares of sources to train on for a test, and how sure that is.\n\n"
    "Example: surefoot fit mixture runs.csv --shares web books --size examples --score accuracy --chance 0.1",
)
