"""An honest, made-up evidence document: what the records of a small house would say.

Nothing in it is written by hand that the service would have computed: specs are parsed and planned,
parts are priced, entries chained and replayed, figures read off the filters. A test plants a fault
by changing the copy that `sample` gives it.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from hashlib import sha256
from typing import Any, Final
from uuid import UUID, uuid5

from app.domain.accounting.filters import make_policy, policy_from_json
from app.domain.accounting.prices import Price, charge_parts, price
from app.domain.attestations import AttestationKind
from app.domain.datasets import Dataset, dataset_from_json
from app.domain.decimals import decimal_text
from app.domain.ledger import (
    GENESIS_HASH,
    ChainedEntry,
    EntryDraft,
    EntryKind,
    Replay,
    entry_body,
    entry_hash,
    replay,
    time_text,
)
from app.domain.mechanisms.parsing import Part, parse_mechanism
from app.domain.privacy import Limit, Loss
from app.domain.profiles import parse_profile, plan_profile
from app.domain.queries import parse_query, plan_query
from app.domain.training import parse_training
from app.reporting.evidence import (
    EVIDENCE_VERSION,
    AttestationEvidence,
    BudgetEvidence,
    Evidence,
    ReservationEvidence,
)
from app.reporting.released import canonical, public_facts

START: Final = datetime(2027, 3, 1, 9, tzinfo=UTC)
AS_OF: Final = START + timedelta(days=30)
RELATION: Final = "add_remove"
NOMINAL_SIZE: Final = 30_000
LIMIT: Final = ("4", "1e-9")
_NAMES: Final = UUID(int=71)

COLUMNS: Final[list[dict[str, Any]]] = [
    {"name": "user_id", "type": "int64"},
    {"name": "month", "type": "int64", "domain": [*range(1, 13)], "domain_source": "public"},
    {"name": "dest", "type": "string", "keys": "private"},
    {"name": "distance", "type": "float64", "bounds": {"low": "0", "high": "5000"}, "grid": "1"},
    {"name": "delay", "type": "float64", "bounds": {"low": "-60", "high": "600"}},
    {"name": "late", "type": "int64", "domain": [0, 1], "domain_source": "public"},
]
REGISTERED: Final[dict[str, Any]] = {
    "name": "flights",
    "access": "private",
    "columns": COLUMNS,
    "source": {"connection": "files", "path": "flights.parquet", "format": "parquet"},
    "unit_of_privacy": {
        "kind": "user",
        "column": "user_id",
        "max_groups_per_user": 4,
        "max_rows_per_user_group": 2,
        "max_rows_per_user": 8,
    },
    "relation": RELATION,
    "nominal_size": NOMINAL_SIZE,
}
QUERY: Final[dict[str, Any]] = {
    "v": 1,
    "group_by": [{"col": "month", "keys": "domain"}],
    "measures": [{"fn": "count"}, {"fn": "mean", "col": "distance"}],
    "privacy": {"epsilon": "0.2", "delta": "0", "noise": "auto"},
}
KEYS_QUERY: Final[dict[str, Any]] = {
    "v": 1,
    "group_by": [{"col": "dest", "keys": "private"}],
    "measures": [{"fn": "count"}, {"fn": "quantile", "col": "delay", "q": "0.5"}],
    "privacy": {"epsilon": "0.1", "delta": "1e-11", "noise": "auto"},
}
PROFILE: Final[dict[str, Any]] = {
    "v": 1,
    "groupings": [{"by": [{"col": "dest", "keys": "private"}]}],
    "values": [{"col": "distance"}],
    "privacy": {"epsilon": "0.05", "delta": "0"},
}
TRAINING: Final[dict[str, Any]] = {
    "v": 1,
    "algorithm": "dp_sgd",
    "model": {"name": "logistic"},
    "features": ["distance", "delay"],
    "label": "late",
    "loss": "cross_entropy",
    "sampling": {"kind": "poisson", "rate": "0.01"},
    "steps": 100,
    "clip": {"mode": "flat", "norm_l2": "1"},
    "noise": {"noise_multiplier": "4"},
    "optimizer": {"name": "sgd", "learning_rate": 0.5},
    "audit": {"canaries": 1000, "delta": "1e-9"},
    "evaluation": {"dataset_id": "00000000-0000-4000-8000-000000000071", "every_steps": 50},
}
PUBLIC_ID: Final = TRAINING["evaluation"]["dataset_id"]
PUBLIC: Final[dict[str, Any]] = {
    "name": "old flights",
    "access": "public",
    "columns": COLUMNS,
    "source": {"connection": "files", "path": "old.parquet", "format": "parquet"},
}
RUNS: Final = ("query 1", "query 2", "profile", "training", "elsewhere", "given up")
QUERIES: Final = ("query 1", "query 2", "profile", "given up")
AUDIT: Final[dict[str, Any]] = {
    "canaries": 1000,
    "delta": "1e-9",
    "confidence": 0.95,
    "steps": 100,
    "not_covered": ["data that leaks past the gradients: times, failures, sizes"],
    "noise_ratios": [1.002],
    "claimed_epsilon": 0.2413,
    "bound_epsilon": 0.0312,
    "estimate_epsilon": 0.1204,
    "p_value": 0.71,
    "verdict": "consistent",
}
LIBRARIES: Final = {"opendp": "0.16.0", "dp-accounting": "0.6.0", "torch": "2.13.0"}
DIGESTS: Final = {name: f"sha256:{sha256(name.encode()).hexdigest()}" for name in LIBRARIES}
POLICY: Final[dict[str, Any]] = {
    "low_epsilon": "1",
    "ceiling_epsilon": "10",
    "delta_most": "1e-5",
    "attestation_days_most": 365,
    "key_days_most": 180,
    "crosscheck_tolerance": "0.6",
    "libraries": {name: [version] for name, version in LIBRARIES.items()},
    "library_digests": {name: [digest] for name, digest in DIGESTS.items()},
}
ATTESTED: Final[dict[AttestationKind, dict[str, Any]]] = {
    "management_assertion": {},
    "other_releases": {"releases": []},
    "harm_scenarios": {"scenarios": [{"text": "whether a user flew at all", "is_covered": True}]},
    "trust_parties": {
        "parties": [
            {"name": "data platform", "sees": "raw"},
            {"name": "analytics", "sees": "noised"},
        ]
    },
    "raw_store_security": {},
    "access_to_raw_store": {},
    "expert_review": {"reviewer": "an outside reader", "reviewed_at": "2027-02-20"},
    "group_effects": {"groups": ["month"]},
    "truncation_bias": {},
    "population_overlap": {},
}


def an_id(name: object) -> str:
    """The id of a name, always the same."""
    return str(uuid5(_NAMES, str(name)))


def sample(**changes: Any) -> Evidence:
    """A fresh honest document, with some of its top-level fields replaced."""
    evidence = copy.deepcopy(_built())
    evidence.update(changes)  # type: ignore[typeddict-item]
    return evidence


def without_jobs() -> Evidence:
    """A dataset whose root was opened and never charged."""
    house = House()
    house.open_root()
    return house.evidence()


def sample_of(*runs: str, with_window: bool = False) -> Evidence:
    """The same house with these runs alone."""
    return copy.deepcopy(_built(runs, with_window=with_window))


def divided() -> Evidence:
    """The same queries over users in four blocks by a public hash, each charged to all of them."""
    return copy.deepcopy(_built(QUERIES, with_window=False, blocks=4))


@cache
def _built(
    runs: tuple[str, ...] = RUNS, *, with_window: bool = True, blocks: int | None = None
) -> Evidence:
    return built_house(runs, with_window=with_window, blocks=blocks).evidence()


def built_house(
    runs: tuple[str, ...] = RUNS, *, with_window: bool = True, blocks: int | None = None
) -> "House":
    """The house itself, with its chains; training and what ran elsewhere are not divided."""
    house = House(blocks)
    house.open_root()
    house.open_below("allocation", "team", ("3", "1e-9"))
    scopes = ["root", "team"]
    if with_window:
        house.open_window()
        scopes.append("march")
    dataset = house.dataset
    asked = {
        "query 1": parse_query(QUERY, dataset),
        "query 2": parse_query(KEYS_QUERY, dataset),
        "given up": parse_query(QUERY, dataset),
    }
    profile = parse_profile(PROFILE, dataset)
    public = {PUBLIC_ID: dataset_from_json(PUBLIC, id=PUBLIC_ID)}
    training = parse_training(TRAINING, dataset, public)
    for name in runs:
        # `query 1 no 3` is another run of the same
        run = name.partition(" no ")[0]
        if run in asked:
            spec, parts = asked[run].to_json(), plan_query(asked[run], dataset).parts
            house.run(name, "query", spec, parts, scopes, 0 if run == "given up" else None)
        elif run == "profile":
            parts = plan_profile(profile, dataset).parts
            house.run(name, "profile", profile.to_json(), parts, scopes)
        elif run == "training":
            house.run(name, "train", training.to_json(), training.parts(), scopes)
        else:
            stated = parse_mechanism({"type": "gaussian", "noise_multiplier": "60"})
            house.run(name, None, {}, [Part(stated, 1)], scopes)
    return house


@dataclass
class Scope:
    """A budget as its chain grows."""

    name: str
    kind: str
    parent: str | None
    rules: dict[str, Any]
    entries: list[ChainedEntry] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)
    window: dict[str, Any] | None = None
    span: list[str] | None = None
    first_at: str | None = None
    last_at: str | None = None

    @property
    def head(self) -> str:
        """The hash that the next entry names."""
        return self.entries[-1].hash if self.entries else GENESIS_HASH

    def replayed(self) -> Replay:
        """What its entries alone say."""
        return replay(an_id(self.name), self.entries)


class House:
    """Chains, reservations and jobs of one dataset, by a clock of its own."""

    def __init__(self, blocks: int | None = None) -> None:
        self.at = START
        self.relation = RELATION
        self.registered = dict(REGISTERED)
        self.blocks: list[list[int]] | None = None
        if blocks is not None:
            self.registered["blocks"] = {"kind": "unit_hash", "count": blocks}
            self.blocks = [[0, blocks - 1]]
        self.dataset: Dataset = dataset_from_json(self.registered, id=an_id("flights"))
        self.scopes: dict[str, Scope] = {}
        self.reservations: list[ReservationEvidence] = []
        self.jobs: list[Any] = []
        self.prices: dict[str, Price] = {}
        self.approvals: list[Any] = []

    def open_root(self) -> None:
        """A lifetime root by two officers."""
        self._approve("root")
        self._open(Scope("root", "lifetime", None, _rules(LIMIT)))

    def open_below(self, kind: str, name: str, limit: tuple[str, str]) -> None:
        """An allocation below the root."""
        self._open(Scope(name, kind, "root", _rules(limit)))

    def open_window(self) -> None:
        """A monthly window of the root and its period of March."""
        calendar = {
            "period": "month",
            "time_zone": "UTC",
            "first_day": "2027-03-01",
            "refresh_when": "always",
        }
        self._approve("monthly")
        self._open(Scope("monthly", "window", "root", _rules(LIMIT), window=calendar))
        facts = {
            "period": an_id("march"),
            "starts_at": time_text(datetime(2027, 3, 1, tzinfo=UTC)),
            "ends_at": time_text(datetime(2027, 4, 1, tzinfo=UTC)),
        }
        span = [facts["starts_at"], facts["ends_at"]]
        self._open(Scope("march", "period", "monthly", _rules(LIMIT), span=span), **facts)
        refreshed = EntryDraft(an_id("refresh"), "refreshed", Loss.zero(), "calendar", facts=facts)
        self.write("monthly", refreshed)

    def run(
        self,
        name: str,
        kind: str | None,
        spec: Mapping[str, Any],
        parts: Sequence[Part],
        scopes: Sequence[str],
        units: int | None = None,
    ) -> None:
        """Reserve, start all or so many units of each part, and settle; kind None ran elsewhere."""
        priced = [price(part.mechanism, self.relation) for part in parts]
        self.prices |= {each.digest: each for each in priced}
        most = [part.max_units for part in parts]
        started = most if units is None else [units for _ in parts]
        job = None if kind is None else an_id(f"job {name}")
        created = time_text(self.at)
        rows = []
        for scope in scopes:
            rows.append(self._hold(scope, name, job, priced, most))
        touched = time_text(self.at) if any(started) else None
        ending: EntryKind = "posted" if touched else "voided"
        for scope in scopes:
            rows.append(self._end(scope, name, job, ending, priced, started))
        resolved = time_text(self.at)
        self.reservations.append(
            {
                "id": an_id(f"reservation {name}"),
                "state": ending,
                "is_outside": kind is None,
                "is_runner": False,
                "tool": "a team's own script" if kind is None else None,
                "job": job,
                "parts": [
                    {
                        "mechanism": part.mechanism.to_json(),
                        "price": at.digest,
                        "max_units": part.max_units,
                        "started_units": count,
                    }
                    for part, at, count in zip(parts, priced, started, strict=True)
                ],
                "entries": rows,
                "created_at": created,
                "touched_at": touched,
                "resolved_at": resolved,
                "output_sha256": None,
            }
        )
        if job is not None:
            inputs = {
                "dataset_id": an_id("flights"),
                "version": 1,
                "budget_id": an_id(scopes[min(1, len(scopes) - 1)]),
                "blocks": self.blocks or "all",
            }
            self.jobs.append(
                {
                    "id": job,
                    "kind": kind,
                    "state": "settled" if touched else "cancelled",
                    "purpose": "delay statistics",
                    "reservation": an_id(f"reservation {name}"),
                    "failure_code": None,
                    "attempts": 1,
                    "lapses_after_touch": 0,
                    "spec": canonical(spec),
                    "inputs": [inputs],
                    "tables": {PUBLIC_ID: _shown(PUBLIC)} if kind == "train" else {},
                    "result": public_facts(str(kind), _released(str(kind), spec))
                    if touched
                    else None,
                    "created_at": created,
                    "finished_at": resolved,
                }
            )

    def write(self, name: str, draft: EntryDraft) -> int:
        """The next entry of a chain."""
        self.at += timedelta(minutes=7)
        scope = self.scopes[name]
        seq = len(scope.entries) + 1
        body = entry_body(
            draft, budget_id=an_id(name), seq=seq, previous_hash=scope.head, at=self.at
        )
        scope.entries.append(ChainedEntry(an_id(name), seq, body.decode(), entry_hash(body)))
        scope.kinds[draft.kind] = scope.kinds.get(draft.kind, 0) + 1
        scope.first_at = scope.first_at or time_text(self.at)
        scope.last_at = time_text(self.at)
        return seq

    def evidence(self) -> Evidence:
        """All of it, as a service would gather it at its last checkpoint."""
        chains = [
            {"budget": an_id(name), "entries": len(scope.entries), "head_hash": scope.head}
            for name, scope in self.scopes.items()
        ]
        return {
            "v": EVIDENCE_VERSION,
            "as_of": time_text(AS_OF),
            "dataset": {
                "id": an_id("flights"),
                "name": "flights",
                "state": "active",
                "access": "private",
                "registered_at": time_text(START - timedelta(hours=1)),
                "versions": 1,
                "population": "passengers",
                "population_datasets": 1,
                "document": _shown(self.registered),
                "description": {
                    "purpose": "delay statistics",
                    "trust_model": "central",
                    "raw_viewers": ["data platform"],
                    "retain_until": "2029-12-31",
                },
            },
            "budgets": [self._budget(scope) for scope in self.scopes.values()],
            "reservations": copy.deepcopy(self.reservations),
            "prices": {digest: each.to_json() for digest, each in sorted(self.prices.items())},
            "jobs": copy.deepcopy(self.jobs),
            "approvals": copy.deepcopy(self.approvals),
            "attestations": [attested(kind, facts) for kind, facts in ATTESTED.items()],
            "refusals": {"total": 2, "by_code": {"budget-exceeded": 2}},
            "service": {
                "version": "0.1.0",
                "libraries": dict(LIBRARIES),
                "library_digests": dict(DIGESTS),
                "query_sampler": "opendp/0.16",
                "training_sampler": "chacha20-box-muller-float32",
                "key_source": "os-csprng",
                "runs_analyst_code": False,
                "errors_are_redacted": True,
                "pads_responses": False,
                "embedded": False,
                "people": {"admin": 1, "compliance_officer": 2, "ml_engineer": 3, "auditor": 1},
                "officers_can_approve_alone": False,
                "keys": {"live": 4, "oldest_days": 40},
                "audit_events": 61,
            },
            "policy": copy.deepcopy(POLICY),  # type: ignore[typeddict-item]
            "ledger": {
                "checkpoint_seq": 5,
                "checkpoint_hash": sha256(b"checkpoint 5").hexdigest(),
                "checkpoint_at": time_text(AS_OF),
                "public_key_fingerprint": sha256(b"key").hexdigest(),
                "chains": chains,
                "entries": sum(len(scope.entries) for scope in self.scopes.values()),
                "faults": [],
            },
        }

    def _open(self, scope: Scope, **facts: Any) -> None:
        self.scopes[scope.name] = scope
        said = {
            "policy": scope.rules,
            "dataset": an_id("flights"),
            "kind": scope.kind,
            "parent": None if scope.parent is None else an_id(scope.parent),
            **({} if scope.window is None else {"calendar": scope.window}),
            **({} if self.blocks is None else {"partition": self.registered["blocks"]}),
            **(_by_two(scope.name) if scope.kind in ("lifetime", "window") else {}),
            **facts,
        }
        actor = said.get("decided_by", an_id("officer"))
        draft = EntryDraft(an_id(f"opened {scope.name}"), "opened", Loss.zero(), actor, facts=said)
        self.write(scope.name, draft)

    def _hold(
        self, scope: str, name: str, job: str | None, priced: Sequence[Price], units: Sequence[int]
    ) -> dict[str, Any]:
        draft = self._draft(scope, name, job, "reserved", priced, units)
        return self._row(scope, self.write(scope, draft), "reserved", units)

    def _end(
        self,
        scope: str,
        name: str,
        job: str | None,
        kind: EntryKind,
        priced: Sequence[Price],
        units: Sequence[int],
    ) -> dict[str, Any]:
        draft = self._draft(scope, name, job, kind, priced, units)
        return self._row(scope, self.write(scope, draft), kind, units)

    def _draft(
        self,
        scope: str,
        name: str,
        job: str | None,
        kind: EntryKind,
        priced: Sequence[Price],
        units: Sequence[int],
    ) -> EntryDraft:
        held = an_id(f"reserved {name} {scope}")
        return EntryDraft(
            id=held if kind == "reserved" else an_id(f"{kind} {name} {scope}"),
            kind=kind,
            charge=charge_parts(list(zip(priced, units, strict=True))),
            actor=an_id("engineer") if kind == "reserved" else "worker",
            reservation=an_id(f"reservation {name}"),
            resolves=None if kind == "reserved" else held,
            job=job,
            parts=[
                {"mechanism": each.mechanism.to_json(), "price": each.digest, "units": count}
                for each, count in zip(priced, units, strict=True)
            ],
            facts={} if self.blocks is None else {"blocks": self.blocks},
        )

    def _row(self, scope: str, seq: int, kind: str, units: Sequence[int]) -> dict[str, Any]:
        return {
            "budget": an_id(scope),
            "seq": seq,
            "kind": kind,
            "units": list(units),
            "blocks": self.blocks,
        }

    def _approve(self, name: str) -> None:
        self.approvals.append(
            {
                "id": an_id(f"approval {name}"),
                "action": "open",
                "budget": an_id(name),
                "state": "used",
                "reason": "a policy",
                "requested_by": an_id("officer"),
                "requested_at": time_text(self.at),
                "decided_by": an_id("second officer"),
                "decided_at": time_text(self.at),
            }
        )

    def _budget(self, scope: Scope) -> BudgetEvidence:
        found = scope.replayed()
        policy = policy_from_json(scope.rules)
        held = found.committed + found.reserved
        limit = {
            "epsilon": decimal_text(policy.limit.epsilon),
            "delta": decimal_text(policy.limit.delta),
        }
        consumed, committed = policy.consumed(held), policy.consumed(found.committed)
        return {
            "id": an_id(scope.name),
            "parent_id": None if scope.parent is None else an_id(scope.parent),
            "name": scope.name,
            "kind": scope.kind,
            "state": found.state,
            "accountant": policy.accountant,
            "policy": scope.rules,
            "figures": {
                "limit": {"epsilon": limit["epsilon"], "delta": limit["delta"]},
                "consumed": {"epsilon": consumed.epsilon, "delta": consumed.delta},
                "committed": {"epsilon": committed.epsilon, "delta": committed.delta},
                "reserved": {"epsilon": "0", "delta": "0"},
                "remaining": policy.remaining(held).to_json(),
            },
            "bound_delta": limit["delta"],
            "plan": None,
            "window": scope.window,
            "span": scope.span,
            "rate_limits": {"jobs_per_hour": 60} if scope.name == "team" else {},
            "reason": "a policy",
            "entries": len(scope.entries),
            "head_hash": scope.head,
            "opened_at": scope.first_at,
            "first_entry_at": scope.first_at,
            "last_entry_at": scope.last_at,
            "limit_changes": [],
            "openings": [],
            "by_kind": dict(sorted(scope.kinds.items())),
            "committed_charge": found.committed.to_json(),
            "reserved_charge": found.reserved.to_json(),
        }


def _by_two(name: str) -> dict[str, Any]:
    """What an entry says of the two people who decided it."""
    return {
        "approval": an_id(f"approval {name}"),
        "change_sha256": sha256(name.encode()).hexdigest(),
        "requested_by": an_id("officer"),
        "decided_by": an_id("second officer"),
    }


def _rules(limit: tuple[str, str]) -> dict[str, Any]:
    return make_policy("rdp-mix/1", Limit(Decimal(limit[0]), Decimal(limit[1]))).to_json()


def _shown(document: Mapping[str, Any]) -> dict[str, Any]:
    """A dataset's document without the place of its source."""
    return {**document, "source": {"format": document["source"]["format"]}}


def _released(kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A result as a worker would store it."""
    if kind == "train":
        return {
            "steps": spec["steps"],
            "steps_run": spec["steps"],
            "cancelled": False,
            "noise_multiplier": spec["noise"]["noise_multiplier"],
            "clip_norm_l2": "1",
            "test_accuracy": 0.8125,
            "audit": AUDIT,
            "if_fixed_in_advance": {"epsilon": "0.2413", "delta": "1e-9", "method": "PLD"},
            "artifacts": ["model.safetensors", "card.json", "card.md"],
        }
    names = ["count"] if kind == "profile" else [each["fn"] for each in spec["measures"]]
    cells = [
        {"measure": name, "value": 7, "half_width_95": "3", "mechanism": "discrete_laplace"}
        for name in names
    ]
    note = "Half-widths cover the added noise. They do not include what bounds and caps cut off."
    return {"rows": [{"keys": {}, "cells": cells}], "notes": [note]}


def attested(kind: AttestationKind, facts: Mapping[str, Any]) -> AttestationEvidence:
    """A sentence of an officer, three days before the start and good for most of a year."""
    made = START - timedelta(days=3)
    return {
        "id": an_id(f"attestation {kind}"),
        "kind": kind,
        "statement": f"So it is: {kind.replace('_', ' ')}.",
        "facts": dict(facts),
        "person": an_id("officer"),
        "person_name": "Ada Officer",
        "role": "compliance_officer",
        "made_at": time_text(made),
        "expires_at": time_text(made + timedelta(days=360)),
        "revoked_at": None,
        "signature": "00" * 64,
        "signed_by": sha256(b"key").hexdigest(),
    }
