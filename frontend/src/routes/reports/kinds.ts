import type { Schemas } from "../../api/client"

type Kind = Schemas["AttestationCreate"]["kind"]
type About = {
  name: string
  asks: string
  facts: null | "releases" | "scenarios" | "parties" | "review" | "groups"
}

/** What people can stand for, and what each kind asks beside the sentence. */
export const attestationKinds: Record<Kind, About> = {
  management_assertion: {
    name: "Management's assertion",
    asks: "What management stands for about this dataset",
    facts: null,
  },
  other_releases: {
    name: "Other releases",
    asks: "What else was released about these people",
    facts: "releases",
  },
  harm_scenarios: {
    name: "Harm scenarios",
    asks: "What could go wrong for somebody in the data",
    facts: "scenarios",
  },
  unit_rationale: {
    name: "Why this unit of privacy",
    asks: "Why the unit stands for a person",
    facts: null,
  },
  trust_parties: {
    name: "Trusted parties",
    asks: "Who sees what on its way",
    facts: "parties",
  },
  raw_store_security: {
    name: "Security of the raw store",
    asks: "How the rows are kept",
    facts: null,
  },
  access_to_raw_store: {
    name: "Access to the raw store",
    asks: "Who may read the rows without this service",
    facts: null,
  },
  expert_review: { name: "Expert review", asks: "What the reviewer found", facts: "review" },
  post_processing_rationale: {
    name: "Post-processing",
    asks: "What is done with results afterwards",
    facts: null,
  },
  truncation_bias: {
    name: "Bias by truncation",
    asks: "What the caps do to the results",
    facts: null,
  },
  group_effects: {
    name: "Effects on groups",
    asks: "Which groups were looked at, and what was seen",
    facts: "groups",
  },
  budget_justification: {
    name: "Why this budget",
    asks: "Why the limit is what it is",
    facts: null,
  },
  population_overlap: {
    name: "Overlap of populations",
    asks: "Which other datasets hold the same people",
    facts: null,
  },
}

type Said = { lines: string; reviewer: string; day: string }

/** The facts of a kind, from what the form has: one line for each item. */
export function factsOf(kind: Kind, { lines, reviewer, day }: Said): Record<string, unknown> {
  const items = lines
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
  const parts = items.map((line) => line.split("|").map((part) => part.trim()))
  switch (attestationKinds[kind].facts) {
    case "releases":
      return {
        releases: parts.map(([title = "", date = "", isPrivate = ""]) => ({
          title,
          date,
          is_private: isPrivate === "private",
        })),
      }
    case "scenarios":
      return {
        scenarios: parts.map(([text = "", covered = ""]) => ({
          text,
          is_covered: covered === "covered",
        })),
      }
    case "parties":
      return { parties: parts.map(([name = "", sees = ""]) => ({ name, sees })) }
    case "groups":
      return { groups: items }
    case "review":
      return { reviewer, reviewed_at: day }
    default:
      return {}
  }
}

/** How the lines of a kind are written; null where it has none. */
export function linesAsk(kind: Kind): string | null {
  switch (attestationKinds[kind].facts) {
    case "releases":
      return "One release a line: title | 2026-05-01 | private or open. Empty where there is none."
    case "scenarios":
      return "One scenario a line: what happens | covered or open"
    case "parties":
      return "One party a line: name | raw, noised or nothing"
    case "groups":
      return "One group a line"
    default:
      return null
  }
}
