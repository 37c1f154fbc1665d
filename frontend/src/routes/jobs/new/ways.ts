import type { Schemas } from "../../../api/client"
import type { Fits } from "../../../api/quotes"
import { compare, type Sense, shown, shownDelta, sum } from "../../../lib/amounts"
import { waysToFit } from "../again"
import type { Draft } from "./draft"

type Amount = Schemas["AmountAnswer"]

/** A smaller request in the place of one that was refused. */
export type Way = { label: string; patch: Partial<Draft> }

/**
 * The changes of a draft that would pass, by what the service has tried.
 *
 * solved: the noise that a target was solved to, if one was; fewer steps keep it.
 */
export function fittingWays(fits: Fits, draft: Draft, solved: string | undefined): Way[] {
  const isQuery = draft.kind === "query"
  const asked = draft.train.noise_by === "multiplier" ? draft.train.multiplier : solved
  return waysToFit(draft.kind, fits, { privacy: { delta: draft.delta.trim() } })
    .filter(({ change }) => change.steps === undefined || asked)
    .map(({ change, words }) => ({
      label: `Take what fits: ${words}`,
      patch: isQuery
        ? { epsilon: change.epsilon ?? draft.epsilon }
        : {
            train: {
              ...draft.train,
              noise_by: "multiplier",
              multiplier: change.noise_multiplier ?? asked ?? "",
              steps: String(change.steps ?? draft.train.steps),
            },
          },
    }))
}

/** What is consumed or left of a budget holds at the δ of its limit, whatever deltas were added. */
export const atLimit = (
  amount: Amount | null,
  budget: Schemas["BudgetRead"] | undefined,
): Amount | null =>
  amount === null || budget === undefined
    ? null
    : { epsilon: amount.epsilon, delta: budget.limit.delta }

export const amountText = ({ epsilon, delta }: Amount, sense: Sense, unit: string): string =>
  `ε ${shown(epsilon, sense)} at δ ${shownDelta(delta)} per ${unit}`

/** A limit that would have room for what was asked, if losses simply added up. */
export function likelyLimit(limit: string, asked: Amount | null, left: Amount | null): string {
  if (asked === null || left === null) return ""
  try {
    const wanted = sum(limit, asked.epsilon, `-${left.epsilon}`)
    return compare(wanted, limit) > 0 ? shown(wanted, "spent", 2) : ""
  } catch {
    return ""
  }
}
