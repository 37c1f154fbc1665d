"""Profiles: what a dataset looks like from far off, paid for once and read for ever."""

from app.domain.profiles.expectation import expectation
from app.domain.profiles.parsing import parse_profile
from app.domain.profiles.planning import ProfilePlan, plan_profile, profile_figures
from app.domain.profiles.released import Profile, profile_json, read_profile
from app.domain.profiles.spec import Grouping, ProfileSpec

__all__ = [
    "Grouping",
    "Profile",
    "ProfilePlan",
    "ProfileSpec",
    "expectation",
    "parse_profile",
    "plan_profile",
    "profile_figures",
    "profile_json",
    "read_profile",
]
