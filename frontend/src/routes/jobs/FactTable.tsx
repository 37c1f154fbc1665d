import { Table } from "@mantine/core"
import type { ReactNode } from "react"

export type Line = { name: string; value: ReactNode }

/** Names and what they say, a line for each. */
export function FactTable({ caption, lines }: { caption: string; lines: Line[] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
    <section className="scrolls" aria-label={caption} tabIndex={0}>
      <Table verticalSpacing={4} tabularNums>
        <caption className="unseen">{caption}</caption>
        <Table.Tbody>
          {lines.map(({ name, value }, at) => (
            <Table.Tr key={at}>
              <Table.Th scope="row" fw={400} w="35%" style={{ verticalAlign: "top" }}>
                {name}
              </Table.Th>
              <Table.Td className="name">{value}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </section>
  )
}
