import { List, Text } from "@mantine/core"

export type DetailsProps = { title: string; lines: string[] }

/** Lines that are there for whoever wants them. */
export function Details({ title, lines }: DetailsProps) {
  if (lines.length === 0) return null
  return (
    <details>
      <Text component="summary" size="sm" fw={600} style={{ cursor: "pointer" }}>
        {title} ({lines.length})
      </Text>
      <List size="sm" mt={4} withPadding>
        {lines.map((line) => (
          <List.Item key={line} className="name">
            {line}
          </List.Item>
        ))}
      </List>
    </details>
  )
}
