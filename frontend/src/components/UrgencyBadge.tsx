import { Badge } from "@mantine/core"
import type { Schemas } from "../api/client"
import { type Urgency, urgencyOf } from "../lib/urgency"

const words: Record<Urgency, string> = {
  frozen: "Frozen: nothing starts here until two people thaw it",
  exhausted: "Used up: every request is refused",
  soon: "Nearly used up",
  "in use": "In use",
}
const colors: Record<Urgency, string> = {
  frozen: "red",
  exhausted: "red",
  soon: "orange",
  "in use": "gray",
}

/** In what danger a budget is, in words; of one that nobody spends from, what it is. */
export function UrgencyBadge({ budget }: { budget: Schemas["BudgetRead"] }) {
  if (budget.state === "proposed" || budget.state === "closed")
    return (
      <Badge color="gray" className="verdict">
        {budget.state === "proposed" ? "Proposed: waits for a second person" : "Closed"}
      </Badge>
    )
  const urgency = urgencyOf(budget)
  return (
    <Badge
      color={colors[urgency]}
      className="verdict"
      variant={urgency === "in use" ? "outline" : "default"}
    >
      {words[urgency]}
    </Badge>
  )
}
