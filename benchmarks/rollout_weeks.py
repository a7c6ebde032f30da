"""Two simulated weeks of a rollout, from shadow through an A/A week and a slice to a demotion.

    PYTHONPATH=. .venv/bin/python -m benchmarks.rollout_weeks HOME [--harm 20] [--baskets 40]

The desk of `tests/pipelines/rollout/desk.py` trades after each day's draw; every step is that of
`crossimpact rollout`, with the simulated day as its clock. Prints what the commands print.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from cli import views, views_rollout
from cli.console import show
from crossimpact.errors import GateRefused
from pipelines.pages import post_mortem
from pipelines.rollout import drawing, steps
from pipelines.rollout.week import look_back
from pipelines.store.settings import Settings
from tests.pipelines.rollout import desk


def say(line: str) -> None:
    print(f"\n$ {line}")


def main() -> None:
    """Shadow days, then a week of A/A, then a slice until it is demoted."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("home", type=Path)
    words.add_argument("--harm", type=float, default=20.0, help="what the policy adds, bps")
    words.add_argument("--baskets", type=int, default=40)
    words.add_argument("--shadow", type=int, default=15, help="dates of shadow")
    asked = words.parse_args()
    settings = desk.home(asked.home)
    days = desk.days(asked.shadow + 15)
    shadow, aa, later = days[: asked.shadow], days[asked.shadow :][:5], days[asked.shadow + 5 :]
    trade = partial(desk.trade, settings, count=asked.baskets)
    shadowed(settings, shadow, trade)
    for day in aa:
        one_day(settings, day, trade)
    say(f"crossimpact rollout status            # {aa[-1]}, after the A/A week")
    status(settings, aa[-1])
    say('crossimpact rollout start --approver bob --reason "A/A week without a difference"')
    show(views.gated(desk.up(settings, aa[-1], reason="A/A week without a difference").to_dict()),
         as_json=False)  # fmt: skip
    for day in later:
        moved = one_day(settings, day, partial(trade, effect=asked.harm))
        if moved.changed:
            break
    say(f"crossimpact rollout judge             # the night after {day}, exit 4")
    show(views.gated(moved.to_dict()), as_json=False)
    page(settings, day)


def shadowed(settings: Settings, dates: list[str], trade: partial[dict[str, bool]]) -> None:
    """Days of shadow; asked for too early, then in time."""
    for day in dates[:5]:
        trade(day)
    say("crossimpact rollout start")
    begun = steps.start(settings, signed=desk.signed(reason=""), now=lambda: desk.night(dates[4]))
    show(views.gated(begun.to_dict()), as_json=False)
    say('crossimpact rollout start --approver bob --reason "looks good"          # day 5, exit 4')
    try:
        desk.up(settings, dates[4])
    except GateRefused as refusal:
        print(f"error: {refusal}")
    for day in dates[5:]:
        trade(day)
    say('crossimpact rollout start --approver bob --reason "shadow gains"')
    show(views.gated(desk.up(settings, dates[-1], reason="shadow gains").to_dict()), as_json=False)


def one_day(settings: Settings, day: str, trade: partial[dict[str, bool]]) -> steps.Moved:
    """Commitment, trading, judgement."""
    made = drawing.commit(
        settings, day, who="loop", now=desk.morning(day), entropy=desk.entropy(day)
    )
    arms = trade(day)
    moved = steps.judge(settings, who="loop", now=desk.night(day))
    chances = ", ".join(f"{chance:.2f}" for chance in made.chances)
    print(f"{day}  {moved.before:6s} hash {made.commitment[:12]}  chances {chances}  "
          f"{sum(arms.values())} of {len(arms)} baskets drawn  -> {moved.stage}")  # fmt: skip
    return moved


def status(settings: Settings, day: str) -> None:
    """As `crossimpact rollout status` prints it."""
    found = steps.status(settings, now=desk.night(day))
    show(views_rollout.status(found.to_dict()), as_json=False)


def page(settings: Settings, day: str) -> None:
    """The week's post-mortem."""
    say(f"crossimpact rollout post-mortem --date {day}")
    week = look_back(settings, day, now=desk.night(day))
    show({"week": week.monday, "page": post_mortem.build(settings, week).name}, as_json=False)


if __name__ == "__main__":
    main()
