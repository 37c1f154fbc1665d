import type { Schemas } from "../api/client"
import { share } from "./amounts"

type Budget = Schemas["BudgetRead"]
export type Urgency = "exhausted" | "frozen" | "soon" | "in use"

/** From this share of its limit on a budget is listed as one that will soon be used up. */
export const soonShare = 0.8

/** How much of a limit is spent or held, 0 to 1; for ordering and drawing alone. */
export function usedShare({ consumed, limit }: Budget): number {
  return consumed === null ? 0 : share(consumed.epsilon, limit.epsilon)
}

export function urgencyOf(budget: Budget): Urgency {
  if (budget.state === "frozen") return "frozen"
  if (budget.remaining !== null && share(budget.remaining.epsilon, budget.limit.epsilon) === 0)
    return "exhausted"
  return usedShare(budget) >= soonShare ? "soon" : "in use"
}

const order: Urgency[] = ["frozen", "exhausted", "soon", "in use"]

/**
 * The budgets that anybody can spend from or has to thaw, the most urgent first. A window stands
 * for its periods: it shows what is left in the one in force, and one that has ended is no danger.
 */
export function byUrgency(budgets: Budget[]): Budget[] {
  return budgets
    .filter(({ kind, state }) => kind !== "period" && (state === "open" || state === "frozen"))
    .sort(
      (one, other) =>
        order.indexOf(urgencyOf(one)) - order.indexOf(urgencyOf(other)) ||
        usedShare(other) - usedShare(one) ||
        one.name.localeCompare(other.name),
    )
}
