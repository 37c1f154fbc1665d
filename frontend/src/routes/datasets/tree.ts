import type { Schemas } from "../../api/client"

type Budget = Schemas["BudgetRead"]
export type Branch = { budget: Budget; depth: number }

/** Budgets with those below them after each, as far in as they are deep; periods are left out. */
export function branchesOf(budgets: Budget[]): Branch[] {
  const known = budgets.filter((each) => each.kind !== "period")
  const ids = new Set(known.map((each) => each.id))
  const found: Branch[] = []
  const follow = (parent: string | null, depth: number) => {
    for (const budget of known) {
      // what hangs below a budget that the reader may not know stands at the top
      const above = budget.parent_id !== null && ids.has(budget.parent_id) ? budget.parent_id : null
      if (above !== parent) continue
      found.push({ budget, depth })
      follow(budget.id, depth + 1)
    }
  }
  follow(null, 0)
  return found
}
