import { Table, Text } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { lazy } from "react"
import { Link } from "wouter"
import { timelineQuery } from "../../api/budgets"
import type { Schemas } from "../../api/client"
import { EmptyState } from "../../components/EmptyState"
import { Figure } from "../../components/Figure"
import { LoadingState } from "../../components/LoadingState"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"
import { shown, shownDelta } from "../../lib/amounts"
import { burnDown, leftIfHeld, linesOf } from "./burnDown"
import { markName } from "./words"

const BurnDownChart = lazy(() => import("./BurnDownChart"))

type Props = { budget: Schemas["BudgetRead"]; unit: string | null }

/** How a budget came down to what is left of it, and when it would be used up. */
export function BurnDown({ budget, unit }: Props) {
  const found = useQuery(timelineQuery(budget.id))
  const timeline = found.data
  if (found.error) return <ProblemNotice error={found.error} retry={found.refetch} />
  if (timeline === undefined) return <LoadingState />
  const moments = burnDown(timeline)
  if (moments.length === 0)
    return (
      <EmptyState title="Nothing was charged to it yet.">
        What is left is drawn here from the first charge on.
      </EmptyState>
    )
  const { exhausted_at, basis } = timeline.forecast
  const per = unit ? ` per ${unit}` : ""
  return (
    <Figure
      title={`${budget.name}: what is left, ε at δ ${shownDelta(timeline.limit.delta)}${per}`}
      about={
        <>
          {exhausted_at === null ? (
            "No end in sight"
          ) : (
            <>
              Used up <Time at={exhausted_at} isDistance />
            </>
          )}{" "}
          by {basis}. Measured against the limit of today.
        </>
      }
      chart={
        <BurnDownChart
          moments={moments}
          limit={Number(timeline.limit.epsilon)}
          ifHeld={leftIfHeld(timeline)}
          marks={timeline.marks.map(({ at, kind }) => ({
            at: Date.parse(at),
            name: markName(kind),
          }))}
        />
      }
      table={<Lines budget={budget} timeline={timeline} />}
    />
  )
}

function Lines({
  budget,
  timeline,
}: {
  budget: Schemas["BudgetRead"]
  timeline: Schemas["TimelineRead"]
}) {
  return (
    <>
      <Table withTableBorder tabularNums maw={560} verticalSpacing={4}>
        <caption className="unseen">Charges and decisions, in order</caption>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">When</Table.Th>
            <Table.Th scope="col">What</Table.Th>
            <Table.Th scope="col">Consumed, ε</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {linesOf(timeline).map((line) => (
            <Table.Tr key={line.what === "mark" ? line.seq : line.at}>
              <Table.Td>
                <Time at={line.at} />
              </Table.Td>
              <Table.Td>
                {line.what === "mark" ? (
                  <Link href={`/ledger/${budget.id}/${line.seq}`}>{markName(line.kind)}</Link>
                ) : (
                  "charged that day"
                )}
              </Table.Td>
              <Table.Td>
                {line.what === "mark" ? (
                  ""
                ) : (
                  <span title={line.consumed}>{shown(line.consumed, "spent")}</span>
                )}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Text size="sm" mt="xs">
        Each charge by itself is <Link href={`/ledger?budget=${budget.id}`}>in the ledger</Link>.
      </Text>
    </>
  )
}
