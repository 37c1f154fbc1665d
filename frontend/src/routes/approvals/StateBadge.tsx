import { Badge } from "@mantine/core"
import { stateName } from "./words"

const colors: Record<string, string> = { pending: "ink", used: "green.9", rejected: "red.9" }

/** The state in a word; the colour only repeats it. */
export function StateBadge({ state }: { state: string }) {
  return <Badge color={colors[state] ?? "gray.7"}>{stateName(state)}</Badge>
}
