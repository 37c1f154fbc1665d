import { List, Text } from "@mantine/core"
import type { Check } from "../lib/integrity"

const marks = { true: "✓", false: "✗", null: "?" }
const words = { true: "holds", false: "does not hold", null: "not checked" }

/** What was checked, one line each; what was not is told in the same place. */
export function Checks({ label, of }: { label: string; of: Check[] }) {
  return (
    <List size="sm" listStyleType="none" spacing={4} aria-label={label}>
      {of.map((each) => (
        <List.Item key={each.what}>
          <Line check={each} />
        </List.Item>
      ))}
    </List>
  )
}

function Line({ check }: { check: Check }) {
  const key = String(check.holds) as keyof typeof marks
  const isBad = check.holds === false
  return (
    <Text size="sm" c={isBad ? "var(--mantine-color-error)" : undefined} role="status">
      <span aria-hidden="true">{marks[key]} </span>
      {check.what}: <b>{words[key]}</b>
      {check.holds !== true && <span className="name">, {check.said}</span>}
    </Text>
  )
}
