import { Button, Group, NativeSelect, Text } from "@mantine/core"
import { useInfiniteQuery, useQuery } from "@tanstack/react-query"
import type { ColumnDef } from "@tanstack/react-table"
import { type FormEvent, useState } from "react"
import { Link, useLocation } from "wouter"
import type { Schemas } from "../../api/client"
import { datasetsQuery } from "../../api/datasets"
import { useChange } from "../../api/pages"
import { createReport, reportKeys, reportPages } from "../../api/reports"
import { DataTable } from "../../components/DataTable"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { MoreButton } from "../../components/MoreButton"
import { PageHeader } from "../../components/PageHeader"
import { ProblemNotice } from "../../components/ProblemNotice"
import { SubNavigation } from "../../components/SubNavigation"
import { Time } from "../../components/Time"
import { reportPlaces } from "./places"
import { progressLine } from "./progress"

type Report = Schemas["ReportRead"]

const lookAgainMs = 2000
const isUnderway = (report: Report) => report.state === "queued" || report.state === "running"

export default function ReportList() {
  const datasets = useQuery(datasetsQuery({ limit: 200 }))
  const reports = useInfiniteQuery({
    ...reportPages(),
    refetchInterval: (query) =>
      query.state.data?.pages.some((page) => page.items.some(isUnderway)) ? lookAgainMs : false,
  })
  const nameOf = (id: string) => datasets.data?.items.find((each) => each.id === id)?.name ?? id
  const columns: ColumnDef<Report>[] = [
    {
      header: "Dataset",
      accessorFn: (report) => nameOf(report.dataset_id),
      cell: ({ row }) => (
        <Link href={`/reports/${row.original.id}`} className="name">
          {nameOf(row.original.dataset_id)}
        </Link>
      ),
    },
    { header: "State", accessorFn: (report) => progressLine(report) },
    { header: "Checkpoint", accessorKey: "checkpoint_seq" },
    {
      header: "Asked for",
      accessorKey: "requested_at",
      cell: ({ row }) => <Time at={row.original.requested_at} />,
    },
    {
      header: "Ready",
      accessorFn: (report) => report.finished_at ?? "",
      cell: ({ row }) =>
        row.original.finished_at ? <Time at={row.original.finished_at} /> : "not yet",
    },
  ]
  return (
    <>
      <PageHeader title="Reports" about="Evidence that somebody else can check." />
      <SubNavigation label="Reports" places={reportPlaces} />
      <Build datasets={datasets.data?.items.filter((each) => each.access === "private") ?? []} />
      {reports.error && <ProblemNotice error={reports.error} retry={reports.refetch} />}
      {reports.isPending && <LoadingState />}
      {reports.data?.length === 0 && (
        <EmptyState title="No report yet.">
          A report says of one dataset what its ledger shows, criterion by criterion, and carries
          the evidence to check it by.
        </EmptyState>
      )}
      {reports.data && reports.data.length > 0 && (
        <DataTable
          caption="Reports"
          columns={columns}
          rows={reports.data}
          rowKey={(each) => each.id}
        />
      )}
      <MoreButton pages={reports} />
    </>
  )
}

function Build({ datasets }: { datasets: { id: string; name: string }[] }) {
  const [, go] = useLocation()
  const [chosen, setChosen] = useState("")
  const building = useChange(createReport, reportKeys.all)
  const submit = (event: FormEvent) => {
    event.preventDefault()
    building.mutate({ dataset_id: chosen }, { onSuccess: (made) => go(`/reports/${made.id}`) })
  }
  return (
    <form onSubmit={submit}>
      {building.error && <ProblemNotice error={building.error} />}
      <Group align="flex-end" gap="xs" mb={4}>
        <NativeSelect
          label="Build a report of"
          value={chosen}
          onChange={(event) => setChosen(event.currentTarget.value)}
          data={[
            { value: "", label: "Choose a dataset", disabled: true },
            ...datasets.map((each) => ({ value: each.id, label: each.name })),
          ]}
          style={{ flex: "0 1 20rem" }}
        />
        <Button type="submit" disabled={chosen === ""} loading={building.isPending}>
          Build
        </Button>
      </Group>
      <Text size="sm" c="dimmed" mb="lg">
        It covers the ledger from its first entry up to now, which a signed checkpoint fixes.
      </Text>
    </form>
  )
}
