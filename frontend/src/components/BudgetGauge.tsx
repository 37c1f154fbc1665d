import { Text } from "@mantine/core"
import type { Schemas } from "../api/client"
import { share, shown, shownDelta } from "../lib/amounts"

type Props = { budget: Schemas["BudgetRead"]; unit?: string | null }

/** What is spent, held and left, as one bar and as the same in words. */
export function BudgetGauge({ budget, unit }: Props) {
  const { limit, committed, reserved, remaining } = budget
  if (committed === null || reserved === null || remaining === null)
    return (
      <Text size="sm" c="dimmed">
        Not measured by one ε: its plan says what is left.
      </Text>
    )
  const used = share(committed.epsilon, limit.epsilon)
  const held = Math.min(1 - used, share(reserved.epsilon, limit.epsilon))
  return (
    <div>
      <div className="gauge" aria-hidden="true">
        <div className="used" style={{ width: `${used * 100}%` }} />
        <div className="held" style={{ width: `${held * 100}%` }} />
      </div>
      <Text size="sm" mt={4}>
        ε {shown(committed.epsilon, "spent")} spent, {shown(reserved.epsilon, "spent")} held,{" "}
        <strong>{shown(remaining.epsilon, "left")} left</strong> of {shown(limit.epsilon, "left")}{" "}
        at δ {shownDelta(limit.delta)}
        {unit ? ` per ${unit}` : ""}
      </Text>
    </div>
  )
}
