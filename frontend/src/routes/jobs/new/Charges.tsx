import { Table, Text } from "@mantine/core"
import type { ReactNode } from "react"
import type { Schemas } from "../../../api/client"
import type { QuotedCharge } from "../../../api/quotes"
import { Amount } from "../../../components/Amount"
import { type Sense, shownDelta } from "../../../lib/amounts"
import { atLimit } from "./ways"

type Budget = Schemas["BudgetRead"]

/** A leaf, the budgets above it, and the window of each after it. */
export function alongPath(
  charges: readonly QuotedCharge[],
  leaf: string,
  budgets: readonly Budget[],
): QuotedCharge[] {
  const places = new Map<string, number>()
  for (
    let at = budgets.find(({ id }) => id === leaf);
    at !== undefined && !places.has(at.id);
    at = budgets.find(({ id }) => id === at?.parent_id)
  )
    places.set(at.id, places.size)
  const placeOf = ({ budget_id }: QuotedCharge) => {
    const parent = budgets.find(({ id }) => id === budget_id)?.parent_id
    return places.get(budget_id) ?? (places.get(parent ?? "") ?? budgets.length) + 0.5
  }
  return [...charges].sort((one, other) => placeOf(one) - placeOf(other))
}

const slotsText = (units: Record<string, number> | undefined) =>
  Object.entries(units ?? {})
    .map(([name, count]) => `${count} of ${name}`)
    .join(", ")

type HeldProps = {
  amount: Schemas["AmountAnswer"] | null
  budget: Budget | undefined
  sense: Sense
  children: ReactNode
}

/** A figure of a budget, and the deltas that stand in it beside the ε; of a plan, its slots. */
function Held({ amount, budget, sense, children }: HeldProps) {
  const held = atLimit(amount, budget)
  if (amount === null || held === null) return children
  return (
    <>
      <Amount amount={held} sense={sense} />
      {sense === "spent" && amount.delta !== "0" && (
        <Text size="xs" c="dimmed">
          takes δ {shownDelta(amount.delta)} of it
        </Text>
      )}
    </>
  )
}

type Props = { charges: QuotedCharge[]; budgets: readonly Budget[]; unit: string }

/** What a request costs, budget by budget. */
export function Charges({ charges, budgets, unit }: Props) {
  const along = charges.map((each) => ({
    ...each,
    budget: budgets.find(({ id }) => id === each.budget_id),
  }))
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
    <section className="scrolls" aria-label="Cost, budget by budget" tabIndex={0}>
      <Table verticalSpacing={6} tabularNums withTableBorder>
        <caption style={{ captionSide: "top", textAlign: "left" }}>
          <Text span fw={600}>
            Cost, budget by budget
          </Text>{" "}
          <Text span size="sm" c="dimmed">
            ε per {unit}, at the δ of each budget
          </Text>
        </caption>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">Budget</Table.Th>
            <Table.Th scope="col">This job alone</Table.Th>
            <Table.Th scope="col">Left now</Table.Th>
            <Table.Th scope="col">Left after it</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {along.map(({ budget, ...each }) => (
            <Table.Tr key={each.budget_id}>
              <Table.Th scope="row" fw={400} className="name">
                {budget?.name ?? "a budget"} ({each.kind})
              </Table.Th>
              <Table.Td>
                <Held amount={each.asked} sense="spent" budget={budget}>
                  {slotsText(each.units)}
                </Held>
              </Table.Td>
              <Table.Td>
                <Held amount={each.remaining} sense="left" budget={budget}>
                  {slotsText(each.slots_left)}
                </Held>
              </Table.Td>
              <Table.Td>
                {each.fits ? (
                  <Held amount={each.remaining_after} sense="left" budget={budget}>
                    the other slots
                  </Held>
                ) : (
                  <strong>it has no room</strong>
                )}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </section>
  )
}
