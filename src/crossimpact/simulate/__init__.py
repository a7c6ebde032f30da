"""A demo desk: a market with planted impact, and the desk's own trading in it.

`plan_market` draws what is true (impact matrices per regime, regimes by bucket, spreads, volumes);
`simulate_day` lets one day happen: orders are worked, their flow moves prices, fills are struck
from the moved path. No row is drawn from the estimator's own equation. Same seed, same numbers;
a day is the same whatever the number of days.
"""

from crossimpact.simulate.columns import Tables
from crossimpact.simulate.day import simulate_day
from crossimpact.simulate.dirt import Spoiled, plan_dirt, spoil
from crossimpact.simulate.market import Truth, plan_market
from crossimpact.simulate.spec import DEMO_HALF_LIFE_MIN, DEMO_PERMANENT, DeskSpec

__all__ = [
    "DEMO_HALF_LIFE_MIN",
    "DEMO_PERMANENT",
    "DeskSpec",
    "Spoiled",
    "Tables",
    "Truth",
    "plan_dirt",
    "plan_market",
    "simulate_day",
    "spoil",
]
