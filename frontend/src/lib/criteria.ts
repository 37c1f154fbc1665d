/** States of criteria: never one number for all of them, and only what was seen to hold is green. */

export const criterionStates = [
  "not_satisfied",
  "partly_satisfied",
  "not_evaluated",
  "attested",
  "satisfied",
  "not_applicable",
] as const
export type CriterionState = (typeof criterionStates)[number]

type Look = { name: string; mark: string; color: string; about: string }

export const looks: Record<CriterionState, Look> = {
  satisfied: {
    name: "Satisfied",
    mark: "✓",
    color: "green",
    about: "The record shows it.",
  },
  not_satisfied: {
    name: "Not satisfied",
    mark: "✗",
    color: "red",
    about: "The record shows that it is not so.",
  },
  partly_satisfied: {
    name: "Partly satisfied",
    mark: "◐",
    color: "orange",
    about: "The record shows a part of it.",
  },
  attested: {
    name: "Attested",
    mark: "✎",
    color: "ink",
    about: "A named person stands for it; nothing was checked.",
  },
  not_evaluated: {
    name: "Not evaluated",
    mark: "?",
    color: "gray",
    about: "Nobody knows: nothing on record says either.",
  },
  not_applicable: {
    name: "Not applicable",
    mark: "–",
    color: "gray",
    about: "It does not concern this dataset.",
  },
}

export type Finding = {
  id: string
  section: string
  title: string
  state: CriterionState
  rule: string
  observed: string
  note: string
}

/** Findings with what needs a reader's eye first; equal ones as the report has them. */
export function byUrgency<Each extends { state: CriterionState }>(findings: Each[]): Each[] {
  const rank = (finding: Each) => criterionStates.indexOf(finding.state)
  return [...findings].sort((one, other) => rank(one) - rank(other))
}
