import { Text, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { createColumnHelper } from "@tanstack/react-table"
import { Link } from "wouter"
import type { Schemas } from "../../api/client"
import { jobChargesQuery } from "../../api/jobs"
import { DataTable } from "../../components/DataTable"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { ProblemNotice } from "../../components/ProblemNotice"
import { entryPlace } from "../../components/places"
import { Time } from "../../components/Time"
import { EntryAmount } from "./Charge"
import { entryName, type Job, scopeName, unitsText } from "./words"

type Props = { job: Job; unit: string | null }

/** What was held, charged and given back in each budget, entry by entry of the ledger. */
export function Charges({ job, unit }: Props) {
  const charges = useQuery(jobChargesQuery(job))
  return (
    <section aria-labelledby="charges">
      <Title order={2} id="charges">
        What it cost, budget by budget
      </Title>
      <Text size="sm" c="dimmed" mb="xs">
        Each line is an entry of the ledger. It counts in full in every budget that is named, so
        lines of different budgets are not added up.
      </Text>
      {charges.error && <ProblemNotice error={charges.error} retry={charges.refetch} />}
      {charges.isPending && <LoadingState lines={2} />}
      {charges.data?.items.length === 0 && (
        <EmptyState title="No budget of it may be read by you." />
      )}
      {charges.data && charges.data.items.length > 0 && (
        <DataTable
          caption="Entries of this job in the ledger"
          columns={columns(job.kind, unit)}
          rows={charges.data.items}
          rowKey={(row) => `${row.budget_id} ${row.seq}`}
        />
      )}
    </section>
  )
}

const column = createColumnHelper<Schemas["JobEntryRead"]>()

const columns = (kind: string, unit: string | null) => [
  column.accessor((row) => `${row.budget_name} (${scopeName(row.budget_kind)})`, {
    id: "budget",
    header: "Budget",
    cell: ({ getValue }) => <span className="name">{getValue()}</span>,
  }),
  column.accessor((row) => entryName(row.kind), { id: "what", header: "What was done" }),
  column.accessor("units", {
    header: "Units",
    cell: ({ getValue }) => unitsText(kind, getValue()),
  }),
  column.display({
    id: "alone",
    header: "Comes to, by itself",
    cell: ({ row }) => <EntryAmount entry={row.original} kind={kind} unit={unit} />,
  }),
  column.accessor("at", { header: "When", cell: ({ getValue }) => <Time at={getValue()} /> }),
  column.accessor("seq", {
    header: "Entry",
    cell: ({ row: { original: entry } }) => (
      <Link
        href={entryPlace(entry.budget_id, entry.seq)}
        aria-label={`Entry ${entry.seq} of ${entry.budget_name}`}
      >
        {entry.seq}
      </Link>
    ),
  }),
]
