"""The demo's story: people, data, budgets, jobs, a refusal, the ledger and its statement.

Everything goes over HTTP by `app/client.py`, as a team would do it; only the comparison with the
truth reads the database and the files (examples/demo/truth.py).
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from app.client import EpsilonLedger, Refused
from app.db.session import SessionMaker
from examples.demo import declarations, people, truth
from examples.demo.people import Cast
from examples.demo.stage import Stage

# an outside tool asks for far more steps than the team's budget holds
OUTSIDE_STEPS = 100_000
OUTSIDE_MECHANISM = {
    "type": "poisson_sampled",
    "rate": "0.01",
    "of": {"type": "gaussian", "noise_multiplier": "2"},
}
QUERIES_MOST = 20
REPORT_FORMS = ("json", "html", "pdf")


@dataclass
class Scenario:
    """One run of the story against a fresh house."""

    folder: Path
    make_session: SessionMaker
    stage: Stage
    began_s: float
    facts: dict[str, Any] = field(default_factory=dict)

    def play(self, cast: Cast) -> dict[str, Any]:
        """All acts in order; gives the facts that --json prints."""
        self.present()
        self.register(cast)
        self.query(cast)
        self.refuse(cast)
        self.train(cast)
        self.read_the_ledger(cast)
        self.report(cast)
        self.ask_for_more(cast)
        return self.facts

    def present(self) -> None:
        """Who there is."""
        self.stage.act("1  People", "One person a role; nobody approves their own change.")
        for name, role, what in people.CAST:
            self.stage.say(f"  {name}, {what}: {role}")

    def register(self, cast: Cast) -> None:
        """Datasets by an officer, a lifetime root by two, an allocation for the team."""
        self.stage.act(
            "2  Datasets and budgets",
            "A root takes two people; an allocation below it takes one.",
        )
        cast.admin.post(
            "/v1/connections", {"name": "demo", "kind": "folder", "root": str(self.folder)}
        )
        for declared in (
            declarations.FLIGHTS,
            declarations.DIGITS,
            declarations.DIGITS_TEST,
        ):
            made = cast.officer.post("/v1/datasets", declared)
            cast.datasets[declared["name"]] = made["id"]
            if made["state"] == "proposed":
                self._agree(cast, made)
                self.stage.say(
                    f"  {declared['name']}: looks like private rows, so two people call it public"
                )
            if declared["access"] == "private":
                cast.officer.post(
                    f"/v1/datasets/{made['id']}/grants", {"project_id": cast.project_id}
                )
        for name, limit in (
            ("flights", {"epsilon": "8", "delta": "1e-7"}),
            ("digits", {"epsilon": "8", "delta": "1e-5"}),
        ):
            cast.roots[name] = self._open_root(cast, name, limit)
        allocation = cast.officer.post(
            "/v1/budgets",
            {
                "kind": "allocation",
                "parent_id": cast.roots["flights"],
                "name": "delay team",
                "holder": {"project_id": cast.project_id},
                "limit": {"epsilon": "3", "delta": "1e-8"},
                "accountant": "rdp-mix/1",
                "reason": "statistics for the delay dashboard",
            },
        )
        cast.team_budget_id = allocation["id"]
        self.stage.say("  delay team: an allocation of epsilon 3 below flights, for life")

    def query(self, cast: Cast) -> None:
        """A quote, then two grouped queries with their released values and intervals."""
        self.stage.act(
            "3  A quote, then queries",
            "The quote touches no data. Values carry noise; the exact ones beside them exist"
            " here only because these data are public.",
        )
        inputs = self._inputs(cast, "flights", cast.team_budget_id)
        spec = declarations.flights_by_origin("1")
        quote = cast.engineer.quote(kind="query", inputs=inputs, spec=spec)
        asked = quote["charges"][0]["asked"]
        self.stage.say(
            f"  quote: epsilon {asked['epsilon']}, 95% half-widths {quote['half_widths']},"
            f" fits: {quote['admitted_now']}"
        )
        job, result = self._run_query(cast, inputs, spec, "flights from each airport")
        self.facts["first_job_s"] = round(time.monotonic() - self.began_s, 2)
        exact = truth.bounded_values(self.make_session, UUID(job["id"]))
        true = truth.true_values(self.folder / "flights.parquet", "origin")
        self._show_flights(result, exact, true)
        by_destination = declarations.summer_destinations("0.5")
        second, destinations = self._run_query(cast, inputs, by_destination, "summer destinations")
        second_exact = truth.bounded_values(self.make_session, UUID(second["id"]))
        self.stage.table(
            "Summer destinations (private keys: shown where enough aircraft went)",
            ["dest", "flights", "± 95%"],
            [
                (row["keys"]["dest"], row["cells"][0]["value"], row["cells"][0]["half_width_95"])
                for row in sorted(destinations["rows"], key=lambda row: -row["cells"][0]["value"])
            ],
        )
        worst = max(
            truth.worst_half_widths(result["rows"], exact),
            truth.worst_half_widths(destinations["rows"], second_exact),
        )
        self.facts["query"] = {
            **result,
            "bounded_true": exact,
            "unbounded_true": true,
            "private_keys": {**destinations, "bounded_true": second_exact},
            "worst_error_in_half_widths": round(worst, 3),
        }
        entry = self._posted_entry(cast, cast.team_budget_id, job["id"])
        amount = entry["charge_alone"]
        self.facts["charge"] = {
            "parts": entry["parts"],
            "amount": amount,
            "independent_repricing_agrees": truth.charge_matches(
                json.loads(entry["body"])["charge"], entry["parts"]
            ),
        }

    def refuse(self, cast: Cast) -> None:
        """Jobs until one is refused; then exactly what the refusal says would fit."""
        self.stage.act(
            "4  Until the budget is gone",
            "A refusal charges nothing and names the largest request that would pass.",
        )
        inputs = self._inputs(cast, "flights", cast.team_budget_id)
        spec = declarations.flights_by_origin("0.9")
        self._run_query(cast, inputs, spec, "refresh 0")
        again = cast.engineer.submit("query", inputs=inputs, spec=spec, purpose="the same again")
        if again["reused_from"] is None:
            raise RuntimeError("an equal query was charged though its release stands")
        self.stage.say("  the same query again: answered by the release that stands, no charge")
        refusal = None
        for number in range(1, QUERIES_MOST + 1):
            try:
                self._run_query(cast, inputs, spec, f"refresh {number}")
            except Refused as refused:
                refusal = refused
                break
        if refusal is None:
            raise RuntimeError(f"{QUERIES_MOST} queries passed a budget of epsilon 3")
        self.facts["refusal"] = refusal.problem
        self.stage.say(f"  refused: {refusal.problem.get('detail')}")
        self.stage.say(f"  left {refusal['left']}, would fit {refusal['fits']}")
        self._fit_the_outside_job(cast, inputs)
        fitting = cast.engineer.quote(
            kind="query", inputs=inputs, spec=declarations.flights_by_origin("0.9")
        )["fits"]["epsilon"]
        job, _ = self._run_query(cast, inputs, declarations.flights_by_origin(fitting), "what fits")
        self.facts["resubmitted"]["query_epsilon"] = fitting
        self.stage.say(f"  the same query at epsilon {fitting}: {job['state']}")

    def train(self, cast: Cast) -> None:
        """DP-SGD with its noise solved for the budget's own filter."""
        self.stage.act(
            "5  Training",
            "DP-SGD on handwritten digits at epsilon 8, delta 1e-5: the noise is solved against"
            " the budget's own filter, and each chunk of steps is durable before it runs.",
        )
        inputs = self._inputs(cast, "digits", cast.roots["digits"])
        spec = declarations.digit_reader(cast.datasets["digits-test"])
        began_s = time.monotonic()
        job = cast.engineer.submit("train", inputs=inputs, spec=spec, purpose="digit reader")
        with self.stage.training(spec["steps"]) as shown:
            job = cast.engineer.wait(job["id"], on_progress=shown, timeout_s=300)
        seconds = time.monotonic() - began_s
        if job["state"] != "settled":
            raise RuntimeError(f"training ended as {job['state']}: {job['failure_code']}")
        result = cast.engineer.result(job["id"])
        entry = self._posted_entry(cast, cast.roots["digits"], job["id"])
        self.facts["training"] = {
            "accuracy": result["test_accuracy"],
            "epsilon": entry["charge_alone"]["epsilon"],
            "delta": "1e-5",
            "noise_multiplier": job["spec"]["noise"]["noise_multiplier"],
            "if_fixed_in_advance": result.get("if_fixed_in_advance"),
            "steps": entry["parts"][0]["units"],
            "seconds": round(seconds, 2),
            "artifacts": [artifact["name"] for artifact in result["artifacts"]],
            "independent_repricing_agrees": truth.charge_matches(
                json.loads(entry["body"])["charge"], entry["parts"]
            ),
        }
        self.stage.say(
            f"  accuracy {result['test_accuracy']:.3f} on the public test split after"
            f" {seconds:.1f} s; charged epsilon {entry['charge_alone']['epsilon']}"
        )
        if (figure := result.get("if_fixed_in_advance")) is not None:
            self.stage.say(
                f"  if fixed in advance: epsilon {figure['epsilon']} ({figure['method']})"
            )

    def read_the_ledger(self, cast: Cast) -> None:
        """Entries, the officer's statement, and the chain replayed from genesis."""
        self.stage.act("6  The ledger", "Append only, hash chained; a replay gives every balance.")
        entries = list(cast.auditor.pages(f"/v1/budgets/{cast.team_budget_id}/entries"))
        self.stage.table(
            "delay team",
            ["entry", "kind", "epsilon alone", "hash"],
            [
                (
                    entry["seq"],
                    entry["kind"],
                    entry["charge_alone"]["epsilon"],
                    entry["hash"][:12],
                )
                for entry in entries
            ],
        )
        budgets = list(cast.auditor.pages("/v1/budgets"))
        self.stage.table(
            "Budgets",
            ["budget", "limit", "consumed", "reserved", "remaining"],
            [
                (
                    budget["name"],
                    *(budget[what]["epsilon"] for what in ("limit", "consumed")),
                    budget["reserved"]["epsilon"],
                    budget["remaining"]["epsilon"],
                )
                for budget in budgets
            ],
        )
        statement = cast.officer.get(
            f"/v1/budgets/{cast.roots['flights']}/statement", audience="officer"
        )
        self.facts["statement"] = statement
        for line in statement["text"]:
            self.stage.say(f"  {line}")
        chain = cast.auditor.get("/v1/ledger/verification")
        self.facts["chain"] = {"entries": chain["entries"], "verified": chain["verified"]}
        self.facts["budgets"] = [
            {key: budget[key] for key in ("name", "limit", "consumed", "remaining")}
            for budget in budgets
        ]
        self.stage.say(f"  {chain['entries']} entries replayed: verified {chain['verified']}")

    def _agree(
        self, cast: Cast, proposed: Mapping[str, Any], *, by: EpsilonLedger | None = None
    ) -> None:
        """Approve what waits; by the second officer unless another tries."""
        decision = {
            "decision": "approve",
            "change_sha256": proposed["change_sha256"],
            "reason": "read and agreed",
        }
        path = f"/v1/approvals/{proposed['approval_id']}/decision"
        (by or cast.second_officer).post(path, decision, if_match=1)

    def _open_root(self, cast: Cast, name: str, limit: Mapping[str, str]) -> str:
        proposed = cast.officer.post(
            "/v1/budgets",
            {
                "kind": "lifetime",
                "dataset_id": cast.datasets[name],
                "name": f"{name}, for life",
                "limit": limit,
                "accountant": "rdp-mix/1",
                "reason": "policy 12",
            },
        )
        try:
            self._agree(cast, proposed, by=cast.officer)
        except Refused as refused:
            self.stage.say(f"  {name}: Olga cannot approve her own proposal ({refused.code})")
        self._agree(cast, proposed)
        self.stage.say(
            f"  {name}: epsilon {limit['epsilon']} at delta {limit['delta']}, for life;"
            " proposed by Olga, approved by Omar"
        )
        return str(proposed["id"])

    def _run_query(
        self, cast: Cast, inputs: Sequence[Mapping[str, Any]], spec: dict[str, Any], purpose: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        # fresh noise each time, and charged: an equal query is else answered by its first release
        job = cast.engineer.submit("query", inputs=inputs, spec=spec, purpose=purpose, reuse=False)
        job = cast.engineer.wait(job["id"], timeout_s=120)
        if job["state"] != "settled":
            raise RuntimeError(f"{purpose} ended as {job['state']}: {job['failure_code']}")
        return job, cast.engineer.result(job["id"])

    def _fit_the_outside_job(self, cast: Cast, inputs: Sequence[Mapping[str, Any]]) -> None:
        """A team's own tool reserves steps: one more than fits is refused, what fits passes."""

        def reserve(steps: int) -> dict[str, Any]:
            return cast.engineer.post(
                "/v1/reservations",
                {
                    "inputs": inputs,
                    "mechanism": OUTSIDE_MECHANISM,
                    "max_units": steps,
                    "lease_s": 900,
                    "tool": "a team's own trainer 1.0",
                },
            )

        try:
            reserve(OUTSIDE_STEPS)
        except Refused as refused:
            fits = refused["fits"]["max_units"]
            self.stage.say(f"  an outside trainer asks for {OUTSIDE_STEPS} steps: {fits} would fit")
        else:
            raise RuntimeError(f"{OUTSIDE_STEPS} steps passed what is left of epsilon 3")
        try:
            reserve(fits + 1)
            one_more = 201
        except Refused as refused:
            one_more = refused.status
        held = reserve(fits)
        self.stage.say(f"  {fits + 1} steps: {one_more}; {fits} steps: {held['state']}")
        cast.engineer.post(
            f"/v1/reservations/{held['id']}/void",
            {"fence": held["fence"], "statement": "no private row was read"},
        )
        self.facts["resubmitted"] = {
            "fits": held["state"] == "reserved",
            "max_units": fits,
            "one_more": one_more,
        }

    def report(self, cast: Cast) -> None:
        """The evaluation report of the flights, built by the worker and signed by the service."""
        self.stage.act("7  The report", "Evidence for somebody else's judgement; no total score.")
        made = cast.auditor.report("flights")
        self.facts["report"] = {"state": made["state"], "sha256": made["sha256"], "files": []}
        if made["state"] != "ready":
            self.stage.say(f"  it failed: {made['failure_code']}")
            return
        for form in REPORT_FORMS:
            try:
                file = cast.auditor.save_report(
                    made["id"], self.folder.parent / f"flights.report.{form}", form=form
                )
            except Refused as refused:
                # pages and PDFs are an extra
                self.stage.say(f"  {form}: {refused.code}")
                continue
            self.facts["report"]["files"].append(file.name)
            self.stage.say(f"  {file}")
        counts = cast.auditor.get(f"/v1/reports/{made['id']}", format="json")["status_counts"]
        self.facts["report"]["status_counts"] = counts
        said = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in counts.items())
        self.stage.say(f"  criteria: {said}")

    def ask_for_more(self, cast: Cast) -> None:
        """A raise of the digits' budget, left for whoever plays the second officer."""
        self.stage.act("8  A change that waits", "It takes effect once a second officer agrees.")
        digits = cast.roots["digits"]
        cast.officer.post(
            f"/v1/budgets/{digits}/changes",
            {
                "action": "raise",
                "limit": {"epsilon": "10"},
                "reason": "a second training run, after the review of the first",
            },
            if_match=cast.officer.get(f"/v1/budgets/{digits}")["version"],
        )
        self.stage.say("  digits: Olga asks for epsilon 10 in place of 8; Omar decides")

    def _posted_entry(self, cast: Cast, budget_id: str, job_id: str) -> dict[str, Any]:
        return next(
            entry
            for entry in cast.auditor.pages(f"/v1/budgets/{budget_id}/entries")
            if entry["kind"] == "posted" and entry["job"] == job_id
        )

    def _show_flights(
        self,
        result: Mapping[str, Any],
        exact: Sequence[Mapping[str, Any]],
        true: Mapping[str, Mapping[str, float]],
    ) -> None:
        bounded = {row["keys"]["origin"]: row["values"] for row in exact}
        rows = []
        for row in result["rows"]:
            origin = row["keys"]["origin"]
            for cell in row["cells"]:
                name = cell["measure"]
                unbounded = true[origin]["count" if name == "count" else "mean"]
                rows.append(
                    (
                        f"{origin} {name}",
                        f"{cell['value']:.1f}",
                        cell["half_width_95"],
                        f"{bounded[origin][name]:.1f}",
                        f"{unbounded:.1f}",
                    )
                )
        self.stage.table(
            "Flights from each airport (caps: 3 airports, 30 flights an aircraft and airport)",
            ["", "released", "± 95%", "exact bounded", "without caps"],
            rows,
        )

    @staticmethod
    def _inputs(cast: Cast, dataset: str, budget_id: str) -> list[dict[str, Any]]:
        return [
            {
                "dataset_id": cast.datasets[dataset],
                "version": 1,
                "budget_id": budget_id,
                "blocks": "all",
            }
        ]
