import { Button, Group, List, Stack, Table, Text } from "@mantine/core"
import type { Draw, Quote } from "../../../api/quotes"
import { shown } from "../../../lib/amounts"
import type { Change } from "./draft"

type Props = { quote: Quote; change: Change; unit: string }

/** How far off each figure of a query will be: the noise, the groups, and what caps cut off. */
export function Errors({ quote, change, unit }: Props) {
  const { predicted, plan, truncation, proposed } = quote
  if (!predicted) return null
  return (
    <Stack gap="xs">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard */}
      <section className="scrolls" aria-label="How far off each figure is" tabIndex={0}>
        <Table verticalSpacing={6} tabularNums withTableBorder>
          <caption style={{ captionSide: "top", textAlign: "left" }}>
            <Text span fw={600}>
              How far off each figure is
            </Text>{" "}
            <Text span size="sm" c="dimmed">
              by its noise, in 95 of 100 releases
            </Text>
          </caption>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Figure</Table.Th>
              <Table.Th scope="col">Within</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {predicted.map((each) => (
              <Table.Tr key={each.measure}>
                <Table.Th scope="row" fw={400} className="name">
                  {each.measure}
                </Table.Th>
                <Table.Td>
                  ± {shown(each.half_width_95, "spent")}
                  {each.unit === "rows in rank" ? " rows in rank" : ""}
                  {each.assumed_count === undefined
                    ? ""
                    : `, where a group has ${each.assumed_count} rows`}
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </section>
      <List size="sm">
        {groupLines(quote).map((line) => (
          <List.Item key={line}>{line}</List.Item>
        ))}
        {truncation && (
          <>
            <List.Item>{cutLine(`groups of one ${unit}`, truncation.max_groups)}</List.Item>
            <List.Item>{cutLine(`rows of one ${unit} in a group`, truncation.max_rows)}</List.Item>
          </>
        )}
      </List>
      {plan && <Draws draws={plan.draws} unit={unit} />}
      {plan && proposed?.bounds && isOther(proposed.bounds, plan) && (
        <Group gap="xs">
          <Text size="sm">
            The newest profile finds less error at {proposed.bounds.max_groups} groups and{" "}
            {proposed.bounds.max_rows} rows in each.
          </Text>
          <Button
            size="compact-sm"
            variant="default"
            onClick={() =>
              change({
                max_groups: String(proposed.bounds?.max_groups ?? ""),
                max_rows: String(proposed.bounds?.max_rows ?? ""),
              })
            }
          >
            Take these caps
          </Button>
        </Group>
      )}
    </Stack>
  )
}

function Draws({ draws, unit }: { draws: Draw[]; unit: string }) {
  return (
    <details>
      <Text component="summary" size="sm">
        Each draw of noise
      </Text>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard */}
      <section className="scrolls" aria-label="Each draw of noise" tabIndex={0}>
        <Table verticalSpacing={4} tabularNums fz="sm">
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">On</Table.Th>
              <Table.Th scope="col">Noise</Table.Th>
              <Table.Th scope="col">Scale</Table.Th>
              <Table.Th scope="col">One {unit} moves it by</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {draws.map((each) => (
              <Table.Tr key={each.of}>
                <Table.Th scope="row" fw={400} className="name">
                  {each.of}
                </Table.Th>
                <Table.Td>{each.mechanism.replaceAll("_", " ")}</Table.Td>
                <Table.Td>{shown(each.scale, "spent")}</Table.Td>
                <Table.Td>{each.moved_by_one_unit}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </section>
    </details>
  )
}

type Caps = { max_groups: number; max_rows: number }

const isOther = (bounds: Caps, plan: Caps): boolean =>
  bounds.max_groups !== plan.max_groups || bounds.max_rows !== plan.max_rows

/** Which groups are shown, by what the request says alone. */
export function groupLines({ plan, group_size_shown }: Quote): string[] {
  if (!plan || plan.groups.length === 0) return []
  const even = group_size_shown?.["with_chance_0.5"]
  const sure = group_size_shown?.["with_chance_0.99"]
  if (even !== undefined && sure !== undefined)
    return [
      `A group of ${even} units is shown with a chance of one half, one of ${sure} nearly always ` +
        "(99%); smaller ones are mostly dropped.",
    ]
  return [
    `All ${plan.public_groups ?? ""} groups are shown, also empty ones: their keys are public.`,
  ]
}

function cutLine(what: string, told: Record<string, string | null>): string {
  const { lost_share, reason } = told
  if (lost_share === null || lost_share === undefined)
    return `What the cap on ${what} cuts off is not known: ${reason}.`
  if (Number(lost_share) === 0) return `The cap on ${what} cuts off nothing.`
  return `The cap on ${what} cuts off about ${percent(lost_share)} of them.`
}

export const percent = (share: string): string => `${Number((Number(share) * 100).toPrecision(2))}%`
