import { Button, Group, Stack, Text } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { useCallback, useMemo } from "react"
import { useSearchParams } from "wouter"
import type { Schemas } from "../../api/client"
import { datasetQuery } from "../../api/datasets"
import { tablePlace } from "../../api/ledger"
import { EmptyState } from "../../components/EmptyState"
import { Hash } from "../../components/Hash"
import { LoadingState } from "../../components/LoadingState"
import { ProblemNotice } from "../../components/ProblemNotice"
import { ChainCheck } from "./ChainCheck"
import { EntryPanel } from "./EntryPanel"
import { EntryTable } from "./EntryTable"
import { Filters } from "./Filters"
import { type Filter, isSpan, queryOf, readFilter, withEntry, withFilter } from "./filters"
import { type Rows, useFound, useSpan } from "./rows"

/** One budget's chain: its entries, one of them beside, and the check of all of them. */
export function Chain({ budget }: { budget: Schemas["BudgetRead"] }) {
  const [search, setSearch] = useSearchParams()
  const dataset = useQuery(datasetQuery(budget.dataset_id))
  const unit = dataset.data?.unit_of_privacy?.kind
  const filter = useMemo(() => readFilter(search), [search])
  const query = queryOf(filter)
  const inOrder = isSpan(query)
  const span = useSpan(budget.id, budget.entries, query, inOrder)
  const found = useFound(budget.id, query, !inOrder)
  const rows = inOrder ? span : found
  const seq = Number(search.get("seq")) || null
  const show = useCallback((next: Filter) => setSearch((old) => withFilter(old, next)), [setSearch])
  const open = useCallback(
    (at: number) => setSearch((old) => withEntry(old, budget.id, at)),
    [setSearch, budget.id],
  )
  const close = useCallback(
    () => setSearch((old) => withEntry(old, budget.id, null)),
    [setSearch, budget.id],
  )
  return (
    <Stack gap="md">
      <Filters key={JSON.stringify(filter)} filter={filter} onChange={show} onSeek={open} />
      {rows.error && <ProblemNotice error={rows.error} retry={rows.retry} />}
      {rows.isPending && <LoadingState />}
      {!rows.isPending && !rows.error && rows.count === 0 && (
        <EmptyState title="No entry is like that.">
          The chain has {budget.entries}; clear the filter to see them.
        </EmptyState>
      )}
      {rows.count > 0 && (
        <div>
          <Group justify="space-between" gap="xs" mb={4}>
            <Count rows={rows} budget={budget} />
            <Button
              component="a"
              href={tablePlace(budget.id, query)}
              download={`entries-${budget.id}.csv`}
              size="xs"
              variant="default"
            >
              CSV
            </Button>
          </Group>
          <EntryTable key={JSON.stringify(filter)} rows={rows} open={seq} onOpen={open} />
        </div>
      )}
      {rows.count > 0 && (
        <ChainCheck
          budget_id={budget.id}
          first={rows.first}
          last={rows.last}
          isEverything={inOrder}
        />
      )}
      <EntryPanel
        budget_id={budget.id}
        seq={seq}
        entries={budget.entries}
        unit={typeof unit === "string" ? unit : null}
        onOpen={open}
        onClose={close}
      />
    </Stack>
  )
}

function Count({ rows, budget }: { rows: Rows; budget: Schemas["BudgetRead"] }) {
  const count = rows.count.toLocaleString("en")
  const whole = budget.entries.toLocaleString("en")
  return (
    <Text size="sm" component="div">
      {rows.isWhole ? count : `${count} so far`} of {whole}{" "}
      {budget.entries === 1 ? "entry" : "entries"}, head <Hash of={budget.head_hash} what="head" />
    </Text>
  )
}
