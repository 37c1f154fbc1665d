import { Text } from "@mantine/core"
import type { Schemas } from "../api/client"
import { type Sense, shown, shownDelta } from "../lib/amounts"

type Props = { amount: Schemas["AmountAnswer"]; sense: Sense; unit?: string | null }

/** An epsilon with its delta and the unit of privacy; the whole figures on hover. */
export function Amount({ amount, sense, unit }: Props) {
  return (
    <Text span inherit title={`ε ${amount.epsilon}, δ ${amount.delta}`}>
      ε {shown(amount.epsilon, sense)}, δ {shownDelta(amount.delta, sense)}
      {unit ? ` per ${unit}` : ""}
    </Text>
  )
}
