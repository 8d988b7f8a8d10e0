"""The arithmetic of figures: percentiles, medians, a fitted exponent, figures for each answer."""

import pytest

from benchmarks.figures import Figures, Outcome, figures_of, fitted_exponent, median_of, percentile


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, 0.0),
        ([7.0], 99, 7.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([float(n) for n in range(1, 101)], 99, 99.0),
        ([float(n) for n in range(1, 101)], 50, 50.0),
        ([1.0, 2.0], 100, 2.0),
    ],
)
def test_percentiles_are_values_that_occurred(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == expected


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_the_fitted_exponent_is_that_of_a_power_law(exponent: float) -> None:
    points = [(x, 3.0 * x**exponent) for x in (1_000.0, 10_000.0, 100_000.0)]
    assert fitted_exponent(points) == pytest.approx(exponent)


def test_one_size_has_no_exponent() -> None:
    with pytest.raises(ValueError, match="two different sizes"):
        fitted_exponent([(10.0, 1.0), (10.0, 2.0)])


def test_costs_are_given_for_each_answer() -> None:
    outcome = Outcome(answers=1_000, seconds=2.0, p50=0.001, p99=0.004, cpu_seconds=0.1)
    figures = figures_of(outcome, {"service": 0.5}, {"service": 200_000_000}, calls=250.0)
    assert figures == Figures(
        per_second=500.0,
        p50_ms=1.0,
        p99_ms=4.0,
        cpu_us={"service": 500.0, "load": 100.0},
        memory_mb={"service": 200.0},
        upstream_calls=0.25,
    )


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(10, 1.0, 0.1, 0.1, wrong=1, problem="a wrong answer"),
        Outcome(10, 1.0, 0.1, 0.1, failed=1, problem="500"),
        Outcome(10, 1.0, 0.1, 0.1, unanswered=1, problem="given up"),
        Outcome(0, 1.0, 0.0, 0.0, problem="nothing came"),
    ],
)
def test_whatever_went_wrong_is_among_the_figures(outcome: Outcome) -> None:
    (problem,) = figures_of(outcome, {}, {}, 0.0).problems
    assert outcome.problem in problem


def test_medians_are_taken_figure_by_figure_and_the_most_memory_and_every_problem_count() -> None:
    rounds = [
        Figures(10.0, 3.0, 9.0, {"edge": 5.0}, {"edge": 70.0}, 1.0, ("first",)),
        Figures(30.0, 1.0, 8.0, {"edge": 7.0}, {"edge": 90.0}, 2.0),
        Figures(20.0, 2.0, 7.0, {"edge": 6.0}, {"edge": 80.0}, 3.0, ("second",)),
    ]
    assert median_of(rounds) == Figures(
        20.0, 2.0, 8.0, {"edge": 6.0}, {"edge": 90.0}, 2.0, ("first", "second")
    )
