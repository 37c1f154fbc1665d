"""A body for every route that takes one, as it is sent; they stand in the API's description.

One small house runs through them: flights, whose unit is an aircraft, a team and its budgets.
"""

from typing import Any, Final

DATASET: Final = "0a5f6d5e-3f0c-4b57-9c5e-2f1d8c1a7b10"
LIFETIME: Final = "3d9f1c52-7a7e-4a86-8d0b-91c6f2f1a4d2"
ALLOCATION: Final = "5b0c7e7a-6f3e-4a0d-b7d5-0a9e3c4f8e61"
TEAM: Final = "9c2e4b1f-8d0a-4f53-a1b7-6e5d3c2b1a09"
PERSON: Final = "c4a1e7d3-2b6f-4c58-9d0e-8f7a6b5c4d3e"
DIGEST: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
INPUTS: Final[list[dict[str, Any]]] = [
    {"dataset_id": DATASET, "version": 1, "budget_id": ALLOCATION, "blocks": "all"}
]
COUNTS: Final[dict[str, Any]] = {
    "v": 1,
    "group_by": [{"col": "month", "keys": "domain"}],
    "measures": [{"fn": "count"}],
    "privacy": {"epsilon": "0.5", "delta": "0", "noise": "auto"},
}
DP_SGD: Final[dict[str, Any]] = {
    "type": "poisson_sampled",
    "rate": "0.01",
    "of": {"type": "gaussian", "noise_multiplier": "1.1"},
}

# by operation id, then by a name that says what it shows
EXAMPLES: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "reserve": {
        "a training loop of one's own": {
            "inputs": INPUTS,
            "mechanism": DP_SGD,
            "max_units": 1000,
            "lease_s": 900,
            "tool": "opacus 1.6.0",
        }
    },
    "start_reservation": {"a chunk of steps": {"fence": 1, "part": 0, "started_units": 100}},
    "extend_reservation": {"a sign of life": {"fence": 1, "lease_s": 900}},
    "resume_reservation": {"after a crash": {"lease_s": 900}},
    "commit_reservation": {"done": {"fence": 1, "output_sha256": DIGEST}},
    "void_reservation": {"not run": {"fence": 1, "statement": "no private row was read"}},
    "submit_job": {
        "a query": {
            "kind": "query",
            "inputs": INPUTS,
            "purpose": "delay statistics",
            "spec": COUNTS,
        },
        "a query in SQL": {
            "kind": "query",
            "inputs": INPUTS,
            "purpose": "delay statistics",
            "spec": {
                "sql": "SELECT month, COUNT(*) FROM flights GROUP BY month",
                "privacy": {"epsilon": "0.5", "delta": "0", "noise": "auto"},
            },
        },
    },
    "quote": {
        "a query": {"inputs": INPUTS, "spec": COUNTS},
        "work that runs elsewhere": {
            "inputs": INPUTS,
            "parts": [{"mechanism": DP_SGD, "max_units": 1000}],
        },
    },
    "create_report": {"as the ledger stands now": {"dataset_id": DATASET}},
    "attest": {
        "no other releases": {
            "dataset_id": DATASET,
            "kind": "other_releases",
            "statement": "Nothing else was ever released of these rows.",
            "facts": {"releases": []},
            "expires_at": "2027-06-30T00:00:00Z",
        },
        "who sees what": {
            "dataset_id": DATASET,
            "kind": "trust_parties",
            "statement": "These are all who come near the rows.",
            "facts": {"parties": [{"name": "data platform team", "sees": "raw"}]},
            "expires_at": "2027-06-30T00:00:00Z",
        },
    },
    "create_connection": {
        "a folder": {"name": "warehouse", "kind": "folder", "root": "/srv/warehouse"},
        "a database": {
            "name": "clinic",
            "kind": "postgresql",
            "root": "env:EPSILON_SOURCE_CLINIC",
        },
    },
    "register_dataset": {
        "private rows of users": {
            "name": "flights",
            "access": "private",
            "population": "us-airframes",
            "purpose": "delay statistics",
            "source": {"connection": "warehouse", "path": "flights.parquet", "format": "parquet"},
            "columns": [
                {"name": "tailnum", "type": "string", "nullable": True},
                {
                    "name": "month",
                    "type": "int64",
                    "domain": list(range(1, 13)),
                    "domain_source": "public",
                },
                {
                    "name": "distance",
                    "type": "int64",
                    "bounds": {"low": "0", "high": "5000"},
                    "grid": "1",
                },
            ],
            "unit_of_privacy": {
                "kind": "user",
                "column": "tailnum",
                "max_groups_per_user": 3,
                "max_rows_per_user_group": 30,
            },
            "relation": "add_remove",
            "blocks": {"kind": "none"},
            "nominal_size": 4000,
            "new_people": True,
            "trust_model": "central",
            "raw_viewers": ["data platform team"],
            "retain_until": "2027-12-31",
        }
    },
    "describe_dataset": {
        "who sees raw rows": {"raw_viewers": ["data platform team", "incident response"]},
        "no end of retention any more": {"retain_until": None},
    },
    "add_dataset_version": {"newer rows": {"path": "flights-2.parquet", "format": "parquet"}},
    "grant_dataset": {"to a team": {"project_id": TEAM}},
    "create_budget": {
        "the lifetime root": {
            "kind": "lifetime",
            "dataset_id": DATASET,
            "name": "for life",
            "limit": {"epsilon": "8", "delta": "1e-7"},
            "reason": "policy 12",
        },
        "a team's share": {
            "kind": "allocation",
            "parent_id": LIFETIME,
            "name": "delays",
            "limit": {"epsilon": "2", "delta": "1e-8"},
            "holder": {"project_id": TEAM},
            "reason": "the delay study",
        },
    },
    "change_budget": {
        "raise": {"action": "raise", "limit": {"epsilon": "3"}, "reason": "a second study"},
        "freeze": {"action": "freeze", "reason": "an open question about the source"},
    },
    "add_opening_entry": {
        "an epsilon spent before": {
            "epsilon": "1",
            "delta": "1e-8",
            "evidence_sha256": DIGEST,
            "reason": "the report of 2025",
        }
    },
    "add_recovery_entries": {
        "after a restore": {"evidence_sha256": DIGEST, "reason": "restored on 22 November"}
    },
    "decide_approval": {
        "yes": {"decision": "approve", "change_sha256": DIGEST, "reason": "as agreed"},
        "in the place of another officer": {
            "decision": "approve",
            "change_sha256": DIGEST,
            "reason": "as agreed",
            "on_behalf_of": PERSON,
        },
    },
    "create_delegation": {
        "for the holidays": {
            "delegate_id": PERSON,
            "starts_at": "2027-07-01T00:00:00Z",
            "ends_at": "2027-07-20T00:00:00Z",
            "reason": "on leave",
        }
    },
    "link_identity": {
        "by subject": {"subject": "248289761001"},
        "by a verified address": {"email": "elif.aydin@example.org"},
    },
    "fetch_key": {
        "after the redirect": {
            "code": "SplxlOBeZQQYbYS6WxSbIA_SplxlOBeZQQYbYS6WxSb",
            "verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        }
    },
    "change_roles": {"from engineer to officer": {"roles": ["compliance_officer"]}},
    "sign_in": {"with a password": {"name": "ada", "password": "three plain words"}},
    "set_password": {
        "by an invitation": {
            "token": "ei_5f3a9c1e7b20_an-invitation-is-shown-once-to-whom-it-is-for",
            "password": "three plain words",
        }
    },
    "create_person": {"an engineer": {"name": "Elif Aydin", "roles": ["ml_engineer"]}},
    "create_project": {"a team": {"name": "delays"}},
    "add_project_member": {"a member": {"principal_id": PERSON}},
    "create_api_key": {
        "a key with an end": {"principal_id": PERSON, "expires_at": "2027-06-30T00:00:00Z"}
    },
    "comment_on_approval": {"a question": {"text": "for which months is this meant?"}},
    "purge_dataset": {"after the study": {"reason": "kept until 2026-12-31, by policy 12"}},
    "publish_job": {"to the house": {"reason": "the delay study is done"}},
    "break_glass": {"stop": {"reason": "the source holds other people than was declared"}},
    "write_mail_address": {"for mails": {"address": "elif@house.example"}},
    "create_webhook": {
        "what officers are told": {
            "url": "https://hooks.example/ledger",
            "kinds": ["approval", "threshold"],
        }
    },
}


def describe_examples(operation: dict[str, Any]) -> None:
    """Put an operation's examples into its description."""
    found = EXAMPLES.get(operation["operationId"])
    if found is None:
        return
    for content in operation["requestBody"]["content"].values():
        content["examples"] = {
            name.replace(" ", "-"): {"summary": name.capitalize(), "value": body}
            for name, body in found.items()
        }
