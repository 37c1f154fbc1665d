import { List, Stack, Text, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { createColumnHelper } from "@tanstack/react-table"
import { Link } from "wouter"
import { traceQuery } from "../../api/budgets"
import type { Schemas } from "../../api/client"
import { DataTable } from "../../components/DataTable"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"
import { shown } from "../../lib/amounts"
import { compareAmounts } from "./order"

type Spend = Schemas["SpendRead"]

const names: Record<string, string> = {
  wait: "Wait",
  merge_queries: "Ask once instead of twice",
  frozen_plan: "Plan the work beforehand",
  let_reservations_end: "Let what is held come back",
  ask_for_more: "Ask for a higher limit",
}

/** How the budget was used, and what may lawfully be done where it is used up. */
export function Trace({ budget_id }: { budget_id: string }) {
  const found = useQuery(traceQuery(budget_id, { limit: 100 }))
  const data = found.data
  return (
    <section aria-labelledby="trace">
      <Title order={2} id="trace">
        How it was used, and the ways on
      </Title>
      {found.error && <ProblemNotice error={found.error} retry={found.refetch} />}
      {found.isPending && <LoadingState />}
      {data && (
        <Stack gap="md">
          <Text size="sm" c="dimmed">
            {data.forecast.exhausted_at === null ? (
              "At the recent pace no end is in sight"
            ) : (
              <>
                Used up <Time at={data.forecast.exhausted_at} />
              </>
            )}{" "}
            by {data.forecast.basis}.
          </Text>
          {data.ways_out.length > 0 && (
            <List spacing="xs" size="sm">
              {data.ways_out.map((way) => (
                <List.Item key={way.way}>
                  <strong>{names[way.way] ?? way.way}</strong>
                  {way.is_open ? ": " : " (leads nowhere here): "}
                  {way.text}
                  <Figures figures={way.figures} />
                </List.Item>
              ))}
            </List>
          )}
          {data.items.length === 0 ? (
            <EmptyState title="Nothing was charged to it yet." />
          ) : (
            <>
              <DataTable
                caption="Charges in the order of the ledger"
                columns={columns(budget_id)}
                rows={data.items}
                rowKey={(row) => String(row.seq)}
              />
              {data.next !== null && (
                <Text size="sm">
                  Only the first {data.items.length} charges are shown;{" "}
                  <Link href={`/ledger?budget=${budget_id}`}>all of them are in the ledger</Link>.
                </Text>
              )}
            </>
          )}
          <Text size="sm" c="dimmed">
            {data.note}
          </Text>
        </Stack>
      )}
    </section>
  )
}

function Figures({ figures }: { figures: Record<string, unknown> }) {
  const said = Object.entries(figures).filter(([, value]) => value !== null)
  if (said.length === 0) return null
  return (
    <Text size="sm" c="dimmed" component="div">
      {said.map(([name, value], at) => (
        <span key={name}>
          {at > 0 && "; "}
          {name.replaceAll("_", " ")}:{" "}
          {name.endsWith("_at") ? (
            <Time at={String(value)} />
          ) : name === "repeats" ? (
            String(value)
          ) : (
            `ε ${shown(String(value), "spent")}`
          )}
        </span>
      ))}
    </Text>
  )
}

const column = createColumnHelper<Spend>()

const columns = (budget_id: string) => [
  column.accessor("seq", {
    header: "Entry",
    cell: ({ getValue }) => <Link href={`/ledger/${budget_id}/${getValue()}`}>{getValue()}</Link>,
  }),
  column.accessor("at", { header: "When", cell: ({ getValue }) => <Time at={getValue()} /> }),
  column.accessor((row) => row.person_name ?? "not shown", { id: "who", header: "Who" }),
  column.accessor((row) => row.purpose ?? row.tool ?? row.kind, {
    id: "what",
    header: "What for",
    cell: ({ getValue, row }) =>
      row.original.job === null ? (
        <span className="name">{getValue()}</span>
      ) : (
        <Link href={`/jobs/${row.original.job}`} className="name">
          {getValue()}
        </Link>
      ),
  }),
  column.accessor((row) => row.alone?.epsilon ?? "", {
    id: "alone",
    header: "Alone, ε",
    sortingFn: compareAmounts,
    cell: ({ getValue }) => (getValue() === "" ? "" : shown(getValue(), "spent")),
  }),
  column.accessor((row) => row.consumed_after?.epsilon ?? "", {
    id: "after",
    header: "Consumed after, ε",
    sortingFn: compareAmounts,
    cell: ({ getValue }) => (getValue() === "" ? "" : shown(getValue(), "spent")),
  }),
]
