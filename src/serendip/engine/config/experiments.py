"""``[experiments.<name>]``: which users get which settings of a surface, and what is compared."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from serendip.config import Config

HOLDOUT = "holdout"  # the arm whose users are in no other experiment
_ROUNDING = 1e-9


class ArmConfig(Config):
    """``[experiments.<name>.arms.<name>]``."""

    surface: str = ""
    """Surface whose settings answer the users of the arm; empty = the requested one."""

    share: float = Field(default=0.5, gt=0, le=1)
    """Share of the users; those who are left are not in the experiment."""


class ExperimentConfig(Config):
    """``[experiments.<name>]``: an experiment, from `serendip experiment start` on."""

    surfaces: Annotated[tuple[str, ...], Field(min_length=1)] = ("home",)
    """Surfaces whose requests it is about."""

    arms: Annotated[dict[str, ArmConfig], Field(min_length=2)]
    """Name -> arm. The first one is the control, with which the others are compared. One named
    `holdout` has no surface: its users are answered as requested, by all other experiments, too."""

    ramp: float = Field(default=1.0, gt=0, le=1)
    """Share of the users who are in it. It alone may change while the experiment runs: it may grow,
    and everybody keeps their arm."""

    metric: str = Field(default="click", min_length=1)
    """Action that is counted, on these surfaces or with no surface."""

    per: Literal["user", "session"] = "user"
    """What it is counted for; the mean is always over users."""

    smallest_effect: float = Field(default=0.02, gt=0)
    """Smallest difference that matters, as a share of the control's mean: once it is excluded, the
    verdict is that there is none."""

    interleave: bool = False
    """Show everybody one list that is drawn from those of the two arms, and count whose items are
    chosen. It finds which list is better with far fewer sessions, and not by how much."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (total := sum(arm.share for arm in self.arms.values())) > 1 + _ROUNDING:
            raise ValueError(f"the shares of the arms sum to {total:g}; they may to 1")
        if self.interleave and (len(self.arms) != 2 or HOLDOUT in self.arms):
            raise ValueError(f"two lists are interleaved: give two arms, and no {HOLDOUT!r}")
        if HOLDOUT in self.arms and (
            next(iter(self.arms)) == HOLDOUT or self.arms[HOLDOUT].surface
        ):
            raise ValueError(f"{HOLDOUT!r} has no surface, and is not the first arm")
        return self

    @property
    def all_surfaces(self) -> list[str]:
        """Those that are asked, and those that answer."""
        return [*self.surfaces, *(arm.surface for arm in self.arms.values() if arm.surface)]
