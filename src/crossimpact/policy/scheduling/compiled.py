"""What a plan needs of a model that depends on the desk's names alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from crossimpact.alignment import Alignment
from crossimpact.model import ImpactModel
from crossimpact.policy.scheduling import couplings, rules
from crossimpact.policy.scheduling.caution import Caution, cautious
from crossimpact.policy.scheduling.desk import Desk
from crossimpact.policy.scheduling.layout import Layout, Layouts


@dataclass(frozen=True, eq=False)
class Compiled:
    """The model, cautiously, of a desk's names in their order; one that it does not know moves
    nothing there, and does not trade."""

    source: ImpactModel
    symbols: tuple[str, ...]
    model: ImpactModel
    caution: Caution
    _layouts: Layouts = field(default_factory=Layouts)
    _strong: dict[float | None, sparse.csr_matrix] = field(default_factory=dict)

    @classmethod
    def of(cls, source: ImpactModel, symbols: tuple[str, ...]) -> Compiled:
        model, caution = cautious(source)
        return cls(source, symbols, _of_names(model, symbols), caution)

    @cached_property
    def sectors(self) -> dict[str, str]:
        """By symbol, of the names the model knows."""
        return dict(zip(self.source.symbols, self.source.sectors, strict=True))

    @cached_property
    def alone(self) -> ImpactModel:
        """Without couplings."""
        return self.model.self_only()

    @cached_property
    def couplings(self) -> couplings.Couplings:
        return couplings.of(self.model)

    def layout(self, desk: Desk) -> Layout:
        """Of the desk's lines under this model."""
        return self._layouts.of(desk, self.model, self.couplings)

    def strong(self, share: float | None) -> sparse.csr_matrix:
        """Pairs of names that are coupled by more than a share of own impact; see `rules`."""
        if share not in self._strong:
            self._strong.clear()
            self._strong[share] = rules.strong(self.model, share)
        return self._strong[share]


def _of_names(model: ImpactModel, symbols: tuple[str, ...]) -> ImpactModel:
    if symbols == model.symbols:
        return model
    to = Alignment.between(model.symbols, symbols)
    known = dict(zip(model.symbols, model.sectors, strict=True))
    nothing = np.empty(0)
    return replace(
        model,
        symbols=symbols,
        sectors=tuple(known.get(symbol, "") for symbol in symbols),
        gamma=to(model.gamma, axes=(0, 1)),
        adv=to(model.adv, missing=1.0),
        reference=to(model.reference, missing=1.0),
        alpha=to(model.alpha),
        beta=to(model.beta),
        alpha_se=nothing,
        beta_se=nothing,
        gamma_se=nothing,
        gamma_frequency=nothing,
    )
