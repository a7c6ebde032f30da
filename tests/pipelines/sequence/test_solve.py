"""The command `sequence`: the fixed answer, every field refused by name, and a promoted matrix."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossimpact.errors import CrossImpactError, ProblemError, StaleModel, UsageError
from crossimpact.kernel.decay import Decay, DecayErrors
from crossimpact.model import BPS, ImpactModel
from pipelines.sequence import orders_file
from pipelines.sequence import solve as sequence
from pipelines.sequence.problem_file import parse
from pipelines.store.settings import Settings

BASE: dict[str, Any] = {
    "times": [0, 1, 2],
    "volumes": [1, 3],
    "objective": "tthc",
    "kernel": {"type": "exponential", "rho": 1.0, "kappa": 1.0},
    "benchmark": None,
    "scenarios": None,
    "amend": None,
    "monotone": True,
    "full_span": False,
}
FIXED = {
    "cost", "cost_ttsc", "cost_tthc", "cost_full", "benchmark_impact", "schedule", "status",
    "kkt_residual",
}  # fmt: skip
THREE: dict[str, Any] = {"times": [0, 1, 2, 3], "volumes": [1, 0, 0]}
BRANCHES = [
    {"p": 0.5, "volume": 3, "then": [{"p": 0.5, "volume": 1}, {"p": 0.5, "volume": -2}]},
    {"p": 0.5, "volume": -1, "then": [{"p": 1, "volume": 0.5}]},
]
COUPLED = {"type": "exponential", "rho": 1.0, "K": [[1.0, 0.5], [0.5, 1.0]]}
SUMS = {"type": "sum_of_exponentials", "weights": [1], "rhos": [1]}


def solve(**changes: Any) -> dict[str, Any]:
    answer = sequence.answer(parse(BASE | changes)).to_dict()
    json.dumps(answer, allow_nan=False)
    return answer


def traded(answer: dict[str, Any]) -> dict[tuple[int, int, int | None], float]:
    """Volume per order, asset and scenario."""
    return {
        (row["order"], row["asset"], row["scenario"]): sum(v for _, v in row["blocks"])
        + sum((end - start) * rate for start, end, rate in row["rates"])
        for row in answer["schedule"]
    }


def test_the_published_answer_on_the_command_line(crossimpact, tmp_path: Path) -> None:
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(BASE))
    code, out, _ = crossimpact("sequence", path, "--json", "--home", tmp_path / "home")
    answer = json.loads(out)
    assert code == 0 and answer.keys() >= FIXED
    assert answer["cost"] == answer["cost_tthc"] == answer["cost_full"]
    assert answer["cost"] == pytest.approx(4.2116, abs=1e-4)
    first, second = answer["schedule"]
    assert first["rates"] == [[0, pytest.approx(0.194, abs=5e-5), pytest.approx(0.838, abs=5e-4)]]
    assert second["rates"] == [[1, 2, pytest.approx(1.1247, abs=1e-4)]]
    assert (first["order"], first["asset"], first["scenario"]) == (0, 0, None)
    assert answer["benchmark_impact"] == [pytest.approx(0.374068, abs=1e-6)]
    assert answer["status"] == "optimal" and answer["kkt_residual"] < 1e-8
    assert not (tmp_path / "home").exists()


def test_two_orders_compile_nothing(tmp_path: Path) -> None:
    """Nor do they wait for the registry."""
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(BASE))
    heavy = "{'numba', 'mlflow', 'duckdb', 'matplotlib', 'sklearn'}"
    script = (
        "import sys; from pathlib import Path; from pipelines.sequence import solve;"
        f"solve.run(Path({str(path)!r}), comparison=True);"
        f"sys.exit(bool({heavy} & {{*sys.modules}}))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_table_for_people(crossimpact, tmp_path: Path) -> None:
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(BASE))
    code, out, _ = crossimpact("sequence", path, "--compare")
    assert code == 0 and "back-loaded" in out and "myopic" in out


def test_separate_costs_come_with_a_warning() -> None:
    warning = solve(objective="ttsc")["warning"]
    assert "show 2.33333 where the schedule costs 5.33333 (56% understated)" in warning
    assert "the best schedule costs 4.21162" in warning
    assert solve(objective="ttsc", volumes=[1, 0])["warning"] == ""
    assert "warning" not in solve()


@pytest.mark.parametrize(
    ("changes", "cost"),
    [
        ({"objective": "ttsc"}, 7 / 3),
        ({"objective": "myopic"}, 8 / 3),
        ({"objective": "stsh", "times": [0, 1], "volumes": [3]}, 3.0),
        ({"monotone": False}, 4.0),
        ({"amend": {"known": 3}}, 7 / 3),
        ({"objective": "hybrid", "benchmark": [[1, 0], [0, 3]]}, 7 / 3),
        ({"amend": {"normal_sd": 0.25}}, 4.211621 + 0.0625 / 3),
        (
            {"scenarios": [{"p": 0.5, "volume": 2.5}, {"p": 0.5, "volume": 3.5}]},
            4.211621 + 0.25 / 3,
        ),
        ({"limits": {"spread": 0.1}}, 4.211621 + 0.4),
        ({"kernel": {"type": "exponential", "rho": 1.0, "kappa": 2.0}}, 8.423242),
        (
            {"kernel": {"type": "sum_of_exponentials", "weights": [0.5, 0.5], "rhos": [1, 1]}},
            4.211621,
        ),
        ({"times": [5, 7, 9], "kernel": {"type": "exponential", "rho": 0.5, "K": [[1]]}}, 4.211621),
    ],
)
def test_what_it_costs(changes: dict[str, Any], cost: float) -> None:
    answer = solve(**changes)
    assert answer["cost"] == pytest.approx(cost, abs=1e-5)
    assert answer["status"] == "optimal" and answer["kkt_residual"] < 1e-8


@pytest.mark.parametrize(
    "changes",
    [
        {"kernel": {"type": "power_law", "gamma": 0.5}},
        {"kernel": {"type": "power_law", "gamma": 0.5, "kappa": 3.0}, "full_span": True},
        {"kernel": COUPLED, "volumes": [[1, -2], [3, 1]], "objective": "ttsc"},
        {"kernel": COUPLED, "volumes": [[1, -2], [3, 1]], "amend": {"known": [1, 0.5]}},
        {"times": [0, 1, 2, 4], "volumes": [1, -1, 2]},
        {"full_span": True},
        {"limits": {"no_blocks": True, "max_rate": 4.0}},
        {"limits": {"block_cap": 0.5, "max_rate": 4.0}},
    ],
)
def test_every_order_is_completed_and_certified(changes: dict[str, Any]) -> None:
    answer = solve(**changes)
    volumes = np.atleast_2d(np.array((BASE | changes)["volumes"], dtype=float).T).T
    for (order, asset, _), volume in traded(answer).items():
        assert volume == pytest.approx(volumes[order, asset], abs=1e-8)
    assert answer["kkt_residual"] < 1e-8 and answer["status"] == "optimal"


@pytest.mark.parametrize("limits", [{"no_blocks": True}, {"block_cap": 0.1}])
def test_a_least_cost_that_is_not_attained_is_not_called_optimal(limits: dict[str, Any]) -> None:
    """Without a rate cap trading gathers in bursts of one cell, ever shorter ones."""
    answer = solve(limits=limits)
    assert answer["status"] == "approximate" and answer["kkt_residual"] < 1e-8
    assert answer["accuracy_cost"] > 1e-4


def test_a_forced_full_span_never_rests() -> None:
    for row in solve(full_span=True)["schedule"]:
        assert row["rates"][0][0] == row["order"] and row["rates"][-1][1] == row["order"] + 1
        ends = [end for _, end, _ in row["rates"]]
        assert ends[:-1] == [start for start, _, _ in row["rates"][1:]]


def test_scenarios_share_the_first_order_and_complete_the_second() -> None:
    scenarios = [{"p": 0.4, "volume": -2.0}, {"p": 0.6, "volume": 5.0}]
    answer = solve(scenarios=scenarios)
    assert traded(answer) == {
        (0, 0, None): pytest.approx(1.0),
        (1, 0, 0): pytest.approx(-2.0),
        (1, 0, 1): pytest.approx(5.0),
    }
    assert answer["value_of_stochastic_solution"] >= 0
    capped = solve(scenarios=scenarios, limits={"block_cap": 2.0})
    assert capped["cost"] > answer["cost"] and capped["kkt_residual"] < 1e-8
    coupled = solve(
        kernel=COUPLED,
        volumes=[[1, 1], [2, 1]],
        scenarios=[{"p": 0.5, "volume": [5, 1]}, {"p": 0.5, "volume": [-1, 1]}],
    )
    assert coupled["status"] == "optimal"
    assert [len(move) for move in coupled["benchmark_impact"]] == [2]


def test_a_normal_amend_shows_the_second_order_at_five_volumes() -> None:
    answer = solve(amend={"normal_sd": 1.0})
    shown = {row["scenario"]: row["volume"] for row in answer["scenarios"]}
    volumes = {s: v for (order, _, s), v in traded(answer).items() if order == 1}
    assert volumes == pytest.approx(shown)
    assert list(shown.values()) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("objective", ["ttsc", "tthc", "hybrid"])
@pytest.mark.parametrize("kernel", [BASE["kernel"], {"type": "power_law", "gamma": 0.5}])
def test_a_tree_of_three_orders(kernel: dict[str, Any], objective: str) -> None:
    answer = solve(**THREE, kernel=kernel, objective=objective, scenarios=BRANCHES)
    assert traded(answer) == pytest.approx(
        {
            (0, 0, None): 1.0, (1, 0, 0): 3.0, (2, 0, 0): 1.0, (1, 0, 1): 3.0, (2, 0, 1): -2.0,
            (1, 0, 2): -1.0, (2, 0, 2): 0.5,
        }
    )  # fmt: skip
    told = [(row["p"], row["volumes"]) for row in answer["scenarios"]]
    assert told == [(0.25, [3, 1]), (0.25, [3, -2]), (0.5, [-1, 0.5])]
    assert answer["cost"] == answer["cost_ttsc" if objective == "ttsc" else "cost_tthc"]
    assert answer["kkt_residual"] < 1e-8 and answer["value_of_stochastic_solution"] > 1e-3
    shared = [row for row in answer["schedule"] if row["order"] == 1 and row["scenario"] in (0, 1)]
    assert shared[0]["rates"] == shared[1]["rates"]  # who cannot tell yet trades alike


def test_a_tree_without_branches_is_a_chain() -> None:
    sure = [{"p": 1, "volume": 3, "then": [{"p": 1, "volume": -2}]}]
    chain = solve(times=[0, 1, 2, 3], volumes=[1, 3, -2])
    assert solve(**THREE, scenarios=sure)["cost"] == pytest.approx(chain["cost"], rel=1e-10)


@pytest.mark.parametrize(
    "changes",
    [
        {"amend": {"normal_sd": 1.0}, "kernel": {"type": "power_law", "gamma": 0.5}},
        {"amend": {"normal_sd": 1.0}, "limits": {"block_cap": 2.0}},
        {"amend": {"normal_sd": 1.0}, "objective": "hybrid"},
        {
            "scenarios": [{"p": 0.5, "volume": 1}, {"p": 0.5, "volume": -2}],
            "kernel": {"type": "power_law", "gamma": 0.5},
        },
    ],
)
def test_an_uncertain_order_under_any_kernel_and_limit(changes: dict[str, Any]) -> None:
    answer = solve(**changes)
    shown = {row["scenario"]: row["volume"] for row in answer["scenarios"]}
    volumes = {s: v for (order, _, s), v in traded(answer).items() if order == 1}
    assert volumes == pytest.approx(shown)
    assert answer["status"] == "optimal" and answer["value_of_stochastic_solution"] >= 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"volumes": [1, float("nan")]}, r"volumes\[1\] is nan, must be a finite number"),
        ({"volumes": [1, "3"]}, "volumes holds text"),
        ({"volumes": [[1, 2], [3]]}, "volumes is not an array of numbers"),
        ({"volumes": None}, "volumes is missing"),
        ({"times": [0, 1, 1]}, "a horizon of 0, must be > 0"),
        ({"times": [0, 2, 1]}, "a horizon of -1, must be > 0"),
        ({"times": [0, 1]}, "2 times for 2 orders"),
        ({"time": [0, 1]}, "time is not a field; one of times"),
        ({"objective": "best"}, "objective is 'best'; one of stsh"),
        ({"objective": "stsh"}, "one order, volumes has 2"),
        ({"objective": "hybrid"}, "hybrid needs benchmark, amend or scenarios"),
        ({"benchmark": [[1, 0], [3, 0]]}, "tthc takes no benchmark"),
        ({"objective": "hybrid", "benchmark": [[1, 0], [1, 1]]}, "row 1 of benchmark sums to 2"),
        ({"kernel": None}, "kernel.type is None"),
        ({"kernel": {"type": "exponential", "kappa": 1}}, "kernel.rho is None"),
        ({"kernel": {"type": "exponential", "rho": 1}}, "neither kappa nor K"),
        ({"kernel": {"type": "exponential", "rho": -1, "kappa": 1}}, "rho of the kernel is -1"),
        ({"kernel": {"type": "exponential", "rho": 1, "kappa": 0}}, "kappa of the kernel is 0"),
        ({"kernel": COUPLED}, "volumes of 1 assets, a kernel of 2"),
        ({"kernel": {"type": "power_law", "gamma": 0}}, "gamma of the kernel is 0"),
        ({"kernel": {"type": "power_law", "rho": 1}}, "kernel.rho is not a field"),
        ({"kernel": SUMS | {"rhos": None}}, "kernel.rhos is missing"),
        ({"kernel": SUMS | {"weights": [[1, 2]]}}, r"kernel.weights has shape \(1, 2\), must be a"),
        ({"kernel": SUMS | {"rhos": [1, 2]}}, "1 weights for 2 rhos"),
        ({"monotone": 1}, "monotone is 1, must be true or false"),
        ({"limits": False}, "limits is bool False, must be an object"),
        ({"limits": {"cap": 1}}, "limits.cap is not a field"),
        ({"limits": {"block_cap": 0}}, "block_cap is 0, must be > 0"),
        ({"limits": {"no_blocks": True, "max_rate": 2}}, "volume 3, its caps leave room for 2"),
        ({"amend": {"known": 1, "normal_sd": 1}}, "amend is"),
        ({"amend": {"normal_sd": 0}}, "sd must be > 0"),
        ({"amend": {"known": 1}, "scenarios": [{"p": 1, "volume": 3}]}, "scenarios and amend both"),
        ({"scenarios": [{"p": 0.5, "volume": 3}]}, "sum to 0.5, must be 1"),
        ({"scenarios": [{"p": 1}]}, r"scenarios\[0\].volume is missing"),
        ({"scenarios": [{"p": 1, "volume": [1, 2]}]}, r"volume has shape \(2,\), must be \(1,\)"),
        ({"scenarios": [{"p": 1, "volume": 1, "then": []}]}, r"\[0\].then is not a field"),
        (THREE | {"scenarios": [{"p": 1, "volume": 1}]}, r"\[0\].then is missing"),
        (
            THREE | {"scenarios": [{"p": 1, "volume": 1, "then": [{"p": 0.3, "volume": 1}]}]},
            r"scenarios\[0\].then: .* sum to 0.3, must be 1",
        ),
        (THREE | {"scenarios": BRANCHES, "amend": {"known": 1}}, "scenarios and amend both"),
        (THREE | {"scenarios": BRANCHES, "objective": "myopic"}, "takes no uncertain order"),
        (
            {"objective": "hybrid", "benchmark": [[1, 0], [0, 3]], "amend": {"known": 1}},
            "benchmark and amend both",
        ),
        ({"volumes": [1e200, 1]}, r"volumes up to 1e\+200 .* beyond 1e-280 to 1e280"),
        ({"volumes": [10**400, 1]}, "volumes is not an array of numbers: int too large"),
        ({"volumes": [True, 3]}, "volumes holds text or truth values"),
        (
            {"kernel": {"type": "exponential", "rho": 1e300, "kappa": 1}},
            "exponent must lie within 1e-15 to 1e15",
        ),
        ({"scenarios": [{"p": 1, "volume": 3}], "objective": "myopic"}, "takes no uncertain order"),
        (
            {"scenarios": [{"p": 1, "volume": 3}], "times": [0, 1], "volumes": [1]},
            "follows a first one, volumes has 1",
        ),
    ],
)
def test_bad_input_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ProblemError, match=message) as refused:
        solve(**changes)
    assert refused.value.exit_code == (1 if "leave room" in message else 2)


@pytest.mark.parametrize(
    ("changes", "cost"),
    [
        ({"dates": 4, "kernel": {"type": "exponential", "rho": 3, "kappa": 1},
          "times": [0, 1], "volumes": [1]}, 0.205471),
        ({"dates": [0, 0.25, 0.5, 0.75, 1], "kernel": {"type": "exponential", "rho": 3, "kappa": 1},
          "times": [0, 1], "volumes": [1]}, 0.205471),
        ({"discretion": 1}, 4.0),
        ({"kernel": {"type": "power_law", "gamma": 0.5, "tau": 60}, "times": [0, 6000],
          "volumes": [1]}, 0.11151939),
        ({"kernel": {"type": "exponential", "rho": [1, 1], "K": COUPLED["K"]},
          "volumes": [[1, 0], [3, 0]]}, 4.211621),
    ],
)  # fmt: skip
def test_fields_beyond_the_first_ones(changes: dict[str, Any], cost: float) -> None:
    answer = solve(**changes)
    assert answer["cost"] == pytest.approx(cost, abs=1e-5) and answer["status"] == "optimal"
    assert answer["accuracy_cost"] <= 1e-6 and answer["accuracy_blocks"] <= 1e-3


def test_what_discretion_is_worth_is_answered() -> None:
    answer = solve(discretion=0.1)
    worth = answer["discretion"]
    assert worth["value"] == pytest.approx(0.131686, abs=1e-5)
    assert worth["cost_without"] - worth["value"] == pytest.approx(answer["cost"])
    assert worth["moved"] == pytest.approx([0, 0.3], abs=1e-8)


def test_the_charge_for_risk_is_in_the_cost() -> None:
    answer = solve(risk={"aversion": 0.1, "volatility": 0.5})
    assert answer["cost"] == pytest.approx(answer["cost_tthc"] + answer["risk_charge"])
    assert answer["risk_charge"] > 0 and answer["cost_tthc"] > 4.211621


@pytest.mark.parametrize(
    ("changes", "message", "code"),
    [
        ({"dates": 0}, "dates is 0, must be >= 1 steps", 2),
        ({"dates": [0, 2], "full_span": True}, "dates and full_span contradict", 2),
        ({"risk": {"aversion": 1}}, "risk needs a covariance or a volatility", 2),
        ({"risk": {"aversion": -1, "volatility": 1}}, "risk.aversion is -1", 2),
        ({"risk": {"aversion": 1, "covariance": -1}}, "no covariance: .*eigenvalue -1", 1),
        ({"risk": {"aversion": 1, "sd": 1}}, "risk.sd is not a field", 2),
        ({"discretion": 2}, "discretion is 2, must be 0 to 1", 2),
        ({"discretion": 0.5, "amend": {"normal_sd": 1}}, "orders that are certain", 2),
        ({"kernel": {"type": "power_law", "gamma": 0.5, "tau": 0}}, "tau of the kernel is 0", 2),
        (
            {"kernel": {"type": "exponential", "rho": [0.1, 10], "K": [[1, 0.9], [0.9, 1]]},
             "volumes": [[1, 1], [1, 1]]},
            "make round trips pay", 1,
        ),
        ({"kernel": {"type": "exponential", "rho": [1, 2], "kappa": 1}}, "2 rhos for 1 assets", 2),
    ],
)  # fmt: skip
def test_bad_values_of_these_fields_are_named(
    changes: dict[str, Any], message: str, code: int
) -> None:
    with pytest.raises(ProblemError, match=message) as refused:
        solve(**changes)
    assert refused.value.exit_code == code


def test_a_file_that_is_no_problem(crossimpact, tmp_path: Path) -> None:
    path = tmp_path / "problem.json"
    assert crossimpact("sequence", path)[0] == 2
    path.write_text("[1, 2")
    assert crossimpact("sequence", path)[0] == 2
    path.write_text("[1, 2]")
    assert crossimpact("sequence", path)[0] == 2
    path.write_text(json.dumps(BASE | {"times": [0, 1, 1]}))
    code, _, err = crossimpact("sequence", path)
    assert code == 2 and "a horizon of 0, must be > 0" in err


@pytest.mark.parametrize("K", [[[1, 1.05], [1.05, 1]], [[1, 0.5], [0.4, 1]]])
def test_an_inadmissible_matrix_is_refused_or_projected(crossimpact, tmp_path, K) -> None:
    path = tmp_path / "problem.json"
    kernel = {"type": "exponential", "rho": 1.0, "K": K}
    path.write_text(json.dumps(BASE | {"kernel": kernel, "volumes": [[1, -1], [3, -1]]}))
    code, _, err = crossimpact("sequence", path)
    assert code == 1 and "--project" in err and ("-0.05" in err or "apart by 0.1" in err)
    code, out, _ = crossimpact("sequence", path, "--project", "--json")
    assert code == 0 and json.loads(out)["status"] == "optimal"


# -- a desk's orders -----------------------------------------------------------------------------

ORDERS = """order,symbol,volume,start,end
0,A,1000000,0,6
0,B,-2e6,0,6
1,A,3000000,6,18
1,C,500000,6,18
"""


def normal() -> ImpactModel:
    scaled = np.array([[0.0, 12.0, 3.0], [12.0, 0.0, 5.0], [3.0, 5.0, 0.0]])
    adv = np.array([1e9, 2e8, 5e7])
    return ImpactModel(
        symbols=("A", "B", "C"),
        sectors=("T", "T", "U"),
        adv=adv,
        regime="normal",
        alpha=np.array([1.0, 2.0, 4.0]),
        beta=np.array([30.0, 40.0, 50.0]),
        gamma=scaled / np.sqrt(adv)[:, None] * np.sqrt(adv)[None, :],
    )


class Shipped:
    """A release with a model of one regime."""

    id = "abcdef123456"
    kernel: Decay | None = None

    def model_for(self, regime: str) -> tuple[ImpactModel | None, str, str, float]:
        if regime == "normal":
            return replace(normal(), kernel=self.kernel), "full", "fitted", 0.15
        return None, "fixed_pov", "3 buckets", 0.05


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(orders_file, "resolve", lambda settings, which: (Shipped(), None))
    return Settings(home=tmp_path / "home")


def schedule(desk: Settings, path: Path, **options: Any) -> dict[str, Any]:
    regime, rho = options.pop("regime", "normal"), options.pop("rho", 0.2)  # None: the release's
    which = options.pop("which", "challenger")
    printed = {name: options.pop(name) for name in ("comparison", "report") if name in options}
    found = orders_file.load(desk, path, which, regime, rho, **options)
    return sequence.answer(found.task, found.units, facts=found.facts, **printed).to_dict()


def test_the_releases_matrix_is_the_kernel(desk, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS)
    answer = schedule(desk, path)
    assert (answer["release"], answer["rung"]) == (Shipped.id, "full")
    assert answer["symbols"] == ["A", "B", "C"]
    model = normal()
    K = BPS * (model.gamma + np.diag(model.beta)) / model.adv
    same = solve(
        times=[0, 6, 18],
        volumes=[[1e6, -2e6, 0], [3e6, 0, 5e5]],
        kernel={"type": "exponential", "rho": 0.2, "K": ((K + K.T) / 2).tolist()},
    )
    assert answer["cost"] == pytest.approx(same["cost"], rel=1e-6)
    assert answer["benchmark_impact"][0] == pytest.approx(same["benchmark_impact"][0], rel=1e-4)
    for key, volume in traded(same).items():
        assert traded(answer)[key] == pytest.approx(volume, rel=1e-6, abs=1e-3)
    assert answer["status"] == "optimal"


DECAY = Decay.from_half_life(
    30.0, 0.3, scale_self=1.2, scale_cross=1.4, bucket_min=5.0,
    errors=DecayErrors(half_life_lo=25.0, half_life_hi=40.0),
)  # fmt: skip


@pytest.mark.parametrize(("permanent", "minutes"), [(0.3, None), (0.3, 60.0), (0.0, None)])
def test_the_releases_decay_is_the_kernel_s_slow_end(
    desk, tmp_path: Path, monkeypatch, permanent: float, minutes: float | None
) -> None:
    kernel = Decay.from_half_life(
        30.0, permanent, scale_self=1.2, scale_cross=1.4, errors=DECAY.errors
    )
    monkeypatch.setattr(Shipped, "kernel", kernel)
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS)
    answer = schedule(desk, path, rho=None, minutes=minutes)
    model, unit = normal(), minutes or 5.0
    K = BPS * (1.4 * model.gamma + 1.2 * np.diag(model.beta)) / model.adv
    rhos = [0.0, unit * np.log(2) / 40][-len(kernel.weights) :]
    same = solve(
        times=[0, 6, 18],
        volumes=[[1e6, -2e6, 0], [3e6, 0, 5e5]],
        kernel={
            "type": "sum_of_exponentials",
            "K": ((K + K.T) / 2).tolist(),
            "weights": list(kernel.weights),
            "rhos": rhos,
        },
    )
    assert answer["cost"] == pytest.approx(same["cost"], rel=1e-5)
    assert f"half-life 40 min, permanent share {permanent:g}, a unit" in answer["decay"]


def test_a_rho_of_the_desk_s_own_replaces_the_release_s_decay(desk, tmp_path, monkeypatch) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS)
    before = schedule(desk, path)
    monkeypatch.setattr(Shipped, "kernel", DECAY)
    assert schedule(desk, path) == before and before["decay"] == "exp(-0.2 t), as given"


def test_decays_that_no_schedule_can_use_are_refused(desk, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS)
    with pytest.raises(UsageError, match="no decay in regime normal: --model needs --rho"):
        schedule(desk, path, rho=None)
    monkeypatch.setattr(Shipped, "kernel", DECAY)
    for minutes in (0.0, -1.0, np.nan):
        with pytest.raises(UsageError, match="--minutes is"):
            schedule(desk, path, rho=None, minutes=minutes)
    monkeypatch.setattr(Shipped, "kernel", Decay.from_half_life(np.inf))
    with pytest.raises(ProblemError, match="is permanent: every schedule costs the same"):
        schedule(desk, path, rho=None)


def test_a_block_pays_half_of_the_move_a_bucket_pays(desk, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("order,symbol,volume,start,end\n0,A,1e6,0,1e-6\n0,B,-2e6,0,1e-6\n")
    told = normal().cost(np.array([1e6, -2e6, 0.0]) / normal().adv)
    answer = schedule(desk, path)
    assert answer["cost"] == pytest.approx((told.self_impact + told.cross) / 2, rel=1e-6)


def test_alpha_is_charged_on_request(desk, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS)
    plain, charged = schedule(desk, path), schedule(desk, path, spread=True)
    spread = BPS * (4e6 * 1 + 2e6 * 2 + 5e5 * 4)
    assert charged["cost"] - plain["cost"] == pytest.approx(spread)


def test_a_share_of_volume_is_never_passed(desk, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS)
    limits: dict[str, Any] = {"pov": 0.2, "day": 78.0, "no_blocks": True, "full_span": True}
    answer = schedule(desk, path, **limits)
    most = 0.2 / 78 * normal().adv
    for row in answer["schedule"]:
        assert row["blocks"] == []
        assert all(abs(rate) <= most[row["asset"]] * (1 + 1e-9) for *_, rate in row["rates"])
    assert answer["cost"] > schedule(desk, path)["cost"] and answer["kkt_residual"] < 1e-8
    with pytest.raises(UsageError, match="--pov needs --day"):
        schedule(desk, path, pov=0.1)
    with pytest.raises(ProblemError, match="pov is 2, must be > 0 and at most 1"):
        schedule(desk, path, pov=2.0, day=78.0)
    with pytest.raises(ProblemError, match=r"order 0 of B is 2,000,000 USD, .* for 1,538,462"):
        schedule(desk, path, pov=0.1, day=78.0, no_blocks=True)


def test_parts_known_later_are_struck_later(desk, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("order,symbol,volume,known\n0,A,1e6,\n1,A,2e6,0\n1,A,1e6,1\n")
    answer = schedule(desk, path, times=[0.0, 6.0, 18.0])
    gain = 1e6 * answer["benchmark_impact"][0][0]
    assert answer["cost"] == pytest.approx(answer["cost_full"] - gain)
    assert answer["cost_ttsc"] == pytest.approx(answer["cost_full"] - 3 * gain)


def test_on_the_command_line(desk, crossimpact, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS)
    desk.home.mkdir(exist_ok=True)
    words = ("sequence", path, "--model", Shipped.id, "--home", desk.home, "--json")
    code, out, _ = crossimpact(*words, "--rho", 0.2, "--objective", "ttsc", "--compare")
    answer = json.loads(out)
    assert code == 0 and answer.keys() >= FIXED
    assert answer["cost"] == answer["cost_ttsc"]
    assert {row["schedule"] for row in answer["comparison"]} >= {"myopic", "ttsc", "tthc"}
    code, _, err = crossimpact(*words)
    assert code == 2 and "no decay in regime normal: --model needs --rho" in err
    assert crossimpact(*words, "--rho", 0.2, "--times", "0,x")[0] == 2
    assert crossimpact(*words, "--rho", 0.2, "--regime", "stressed")[0] == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("order,symbol\n0,A\n", "lacks .'volume'."),
        ("order,symbol,volume,side\n0,A,1,B\n", "has .'side'."),
        ("order,symbol,volume\n", "has no rows"),
        ("order,symbol,volume\n0,A,x\n", "line 2: volume is 'x', must be a number"),
        ("order,symbol,volume\n0,A,nan\n", "line 2: volume is nan, must be finite"),
        ("order,symbol,volume\n-1,A,1\n", "line 2: order is -1"),
        ("order,symbol,volume\n0,A,1\n2,A,1\n", "order 1 has no row, order 2 has"),
        ("order,symbol,volume\n0,A,1\n0,A,2\n", "order 0 lists A twice"),
        ("order,symbol,volume,known\n0,A,1,1\n", "line 2: known is 1, must be 0 to 0"),
        ("order,symbol,volume\n0,A,1\n", "order 0 has no start and end"),
        ("order,symbol,volume,start,end\n0,ZZ,1,0,1\n", "does not know ZZ"),
        ("order,symbol,volume,start,end\n0,A,1,0,1\n0,B,1,0,2\n", "from 0 to 1 in one row"),
        ("order,symbol,volume,start,end\n0,A,1,0,2\n1,A,1,1,3\n", "starts at 1, order 0 ends at 2"),
        ("order,symbol,volume,start,end\n0,A,1,1,1\n", "a horizon of 0"),
    ],
)
def test_bad_orders_are_named(desk, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(text)
    with pytest.raises(CrossImpactError, match=message):
        schedule(desk, path)


def test_nothing_to_schedule_with(desk, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    with pytest.raises(UsageError, match="not a readable CSV"):
        schedule(desk, path)
    path.write_text(ORDERS)
    with pytest.raises(StaleModel, match="has no model of regime stressed: fixed_pov, 3 buckets"):
        schedule(desk, path, regime="stressed")
    with pytest.raises(StaleModel, match="no release is promoted"):
        schedule(desk, path, which="champion")
