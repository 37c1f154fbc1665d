import { Table } from "@mantine/core"
import { useInfiniteQuery } from "@tanstack/react-query"
import { blockPages } from "../../api/budgets"
import type { Schemas } from "../../api/client"
import { EmptyState } from "../../components/EmptyState"
import { Figure } from "../../components/Figure"
import { LoadingState } from "../../components/LoadingState"
import { MoreButton } from "../../components/MoreButton"
import { ProblemNotice } from "../../components/ProblemNotice"
import { shown, shownDelta } from "../../lib/amounts"
import { blocksIn, firstDayOf, heatOf, numbersOf } from "./strip"
import "./block-strip.css"

type Props = { budget: Schemas["BudgetRead"]; dataset: Schemas["DatasetRead"] }

/** What each block has consumed: the darker, the less is left in it. */
export function BlockStrip({ budget, dataset }: Props) {
  const found = useInfiniteQuery(blockPages(budget.id))
  if (found.error) return <ProblemNotice error={found.error} retry={found.refetch} />
  if (found.data === undefined) return <LoadingState lines={2} />
  const runs = found.data
  if (runs.length === 0)
    return <EmptyState title="No block has closed yet: none may be charged before." />
  const { epsilon, delta } = budget.limit
  const worst = budget.worst_block === null ? "" : ` The worst is block ${budget.worst_block}.`
  return (
    <>
      <Figure
        title="Blocks: the darker, the less is left"
        about={`Each unit lies in one block, so the budget is what its worst block has used.${worst}`}
        chart={
          <div
            className="block-strip"
            role="img"
            aria-label={`What ${total(runs)} blocks have used`}
          >
            {runs.map((run) => (
              <div
                key={run.first}
                style={{ flexGrow: blocksIn(run) }}
                data-heat={heatOf(run, epsilon)}
                data-open={run.closed ? undefined : true}
                title={`${numbersOf(run)}: ε ${shown(run.consumed.epsilon, "spent")} of ${epsilon}`}
              />
            ))}
          </div>
        }
        table={
          <Table withTableBorder tabularNums maw={560} verticalSpacing={4}>
            <caption className="unseen">What each block has used</caption>
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">Blocks</Table.Th>
                <Table.Th scope="col">From</Table.Th>
                <Table.Th scope="col">State</Table.Th>
                <Table.Th scope="col">Used, ε at δ {shownDelta(delta)}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {runs.map((run) => (
                <Table.Tr key={run.first}>
                  <Table.Td>{numbersOf(run)}</Table.Td>
                  <Table.Td>{firstDayOf(dataset.blocks, run.first) ?? ""}</Table.Td>
                  <Table.Td>{run.closed ? "closed" : "open"}</Table.Td>
                  <Table.Td>{shown(run.consumed.epsilon, "spent")}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        }
      />
      <MoreButton pages={found} />
    </>
  )
}

const total = (runs: Schemas["BlockRun"][]) => runs.reduce((sum, run) => sum + blocksIn(run), 0)
