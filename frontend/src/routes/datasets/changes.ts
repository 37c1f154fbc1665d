import type { Schemas } from "../../api/client"

type Budget = Schemas["BudgetRead"]
export type Action = "raise" | "lower" | "freeze" | "thaw" | "close"
export type Said = { action: Action; epsilon: string; delta: string; reason: string }

type Offer = { action: Action; name: string; about: string; needsSecond: boolean }

const raise: Offer = {
  action: "raise",
  name: "Raise the limit",
  about: "More may be learnt about people. A second officer has to agree.",
  needsSecond: true,
}
const lower: Offer = {
  action: "lower",
  name: "Lower the limit",
  about: "Down to what is used and held; it takes effect at once.",
  needsSecond: false,
}
const freeze: Offer = {
  action: "freeze",
  name: "Freeze",
  about: "Nothing new starts here. Two officers thaw it again.",
  needsSecond: false,
}
const thaw: Offer = {
  action: "thaw",
  name: "Thaw",
  about: "Work may start again. A second officer has to agree.",
  needsSecond: true,
}
const close: Offer = {
  action: "close",
  name: "Close for ever",
  about: "Nothing starts here again; what was used stays used.",
  needsSecond: false,
}

/** What an officer may ask for of a budget as it stands. */
export function actionsOn(budget: Budget): Offer[] {
  if (budget.state === "frozen") return [thaw]
  if (budget.plan !== null) return [freeze, close]
  return budget.kind === "lifetime" ? [raise, lower, freeze] : [raise, lower, freeze, close]
}

/** What is sent; of a limit only what is another than it was. */
export function changeOf(said: Said, budget: Budget): Schemas["ChangeCreate"] {
  const { action, reason } = said
  if (action !== "raise" && action !== "lower") return { action, reason }
  const { epsilon, delta } = budget.limit
  return {
    action,
    reason,
    limit: {
      ...(said.epsilon.trim() === epsilon ? {} : { epsilon: said.epsilon.trim() }),
      ...(said.delta.trim() === delta ? {} : { delta: said.delta.trim() }),
    },
  }
}
