import { Button, Checkbox, Group, NativeSelect, Text } from "@mantine/core"
import { useInfiniteQuery, useQuery } from "@tanstack/react-query"
import { createColumnHelper } from "@tanstack/react-table"
import { Link, useSearchParams } from "wouter"
import type { Schemas } from "../../api/client"
import { datasetsQuery } from "../../api/datasets"
import { jobPages } from "../../api/jobs"
import { hasRole, meQuery } from "../../api/session"
import { DataTable } from "../../components/DataTable"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { MoreButton } from "../../components/MoreButton"
import { PageHeader } from "../../components/PageHeader"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"
import { Charge } from "./Charge"
import { type Choice, choicesOf, filterOf, isChosen } from "./filter"
import { JobBadge } from "./JobBadge"
import { inputsOf, isUnderway, type Job, kindName, kindNames, stateNames, unitOf } from "./words"

const lookAgainMs = 3000

export default function JobList() {
  const me = useQuery(meQuery())
  const datasets = useQuery(datasetsQuery({ limit: 200 }))
  const [search, setSearch] = useSearchParams()
  const filter = filterOf(search)
  const jobs = useInfiniteQuery({
    ...jobPages(filter),
    refetchInterval: ({ state }) =>
      state.data?.pages.some((page) => page.items.some(isUnderway)) ? lookAgainMs : false,
  })
  const submits = me.data !== undefined && hasRole(me.data, "ml_engineer")
  return (
    <>
      <PageHeader title="Jobs" about="What was asked, and what became of it.">
        {submits && (
          <Button component={Link} href="/jobs/new">
            New job
          </Button>
        )}
      </PageHeader>
      <Filters
        search={search}
        datasets={datasets.data?.items ?? []}
        isEverybodys={me.data !== undefined && hasRole(me.data, "compliance_officer", "auditor")}
        onChange={(chosen) => setSearch(choicesOf(search, chosen), { replace: true })}
      />
      {jobs.error && <ProblemNotice error={jobs.error} retry={jobs.refetch} />}
      {jobs.isPending && <LoadingState />}
      {jobs.data?.length === 0 && <Empty isFiltered={isChosen(filter)} submits={submits} />}
      {jobs.data && jobs.data.length > 0 && (
        <DataTable
          caption="Jobs, newest first"
          columns={columns(datasets.data?.items ?? [])}
          rows={jobs.data}
          rowKey={(job) => job.id}
        />
      )}
      <MoreButton pages={jobs} />
    </>
  )
}

function Empty({ isFiltered, submits }: { isFiltered: boolean; submits: boolean }) {
  if (isFiltered)
    return <EmptyState title="No job is like that.">Choose less of it above.</EmptyState>
  return (
    <EmptyState title="No job yet.">
      {submits
        ? "A new job says what it would cost before anything is charged."
        : "What engineers ask for appears here, with what it came to."}
    </EmptyState>
  )
}

type FiltersProps = {
  search: URLSearchParams
  datasets: Schemas["DatasetRead"][]
  isEverybodys: boolean
  onChange: (chosen: Choice) => void
}

function Filters({ search, datasets, isEverybodys, onChange }: FiltersProps) {
  const options = (all: string, names: [string, string][]) => [
    { value: "", label: all },
    ...names.map(([value, label]) => ({ value, label })),
  ]
  const choices: { name: keyof Choice; label: string; data: ReturnType<typeof options> }[] = [
    { name: "state", label: "State", data: options("Every state", stateNames) },
    { name: "kind", label: "Kind", data: options("Every kind", kindNames) },
    {
      name: "dataset",
      label: "Dataset",
      data: options(
        "Every dataset",
        datasets.map((each) => [each.id, each.name]),
      ),
    },
  ]
  return (
    <Group component="search" align="flex-end" gap="sm" mb="md">
      {choices.map(({ name, label, data }) => (
        <NativeSelect
          key={name}
          label={label}
          data={data}
          value={search.get(name) ?? ""}
          onChange={(event) => onChange({ [name]: event.currentTarget.value })}
          maw={240}
        />
      ))}
      {isEverybodys && (
        <Checkbox
          label="Only mine"
          mb={8}
          checked={search.has("mine")}
          onChange={(event) => onChange({ mine: event.currentTarget.checked ? "yes" : "" })}
        />
      )}
    </Group>
  )
}

const column = createColumnHelper<Job>()

const columns = (datasets: Schemas["DatasetRead"][]) => [
  column.accessor("purpose", {
    header: "What for",
    cell: ({ getValue, row }) => (
      <Link href={`/jobs/${row.original.id}`} className="name">
        {getValue()}
      </Link>
    ),
  }),
  column.accessor((job) => kindName(job.kind), { id: "kind", header: "Kind" }),
  column.accessor(
    (job) =>
      inputsOf(job, datasets)
        .map((each) => each.name)
        .join(", "),
    {
      id: "dataset",
      header: "Dataset",
      cell: ({ getValue }) => <span className="name">{getValue()}</span>,
    },
  ),
  column.accessor("state", {
    header: "State",
    cell: ({ row }) => <JobBadge job={row.original} />,
  }),
  column.display({
    id: "charge",
    header: "Charge",
    cell: ({ row: { original: job } }) => (
      <Text component="div" size="sm">
        <Charge charge={job.charge} kind={job.kind} unit={unitOf(inputsOf(job, datasets))} />
      </Text>
    ),
  }),
  column.accessor("requested_by_name", {
    header: "Who",
    cell: ({ getValue }) => <span className="name">{getValue()}</span>,
  }),
  column.accessor("created_at", {
    header: "When",
    cell: ({ getValue }) => <Time at={getValue()} />,
  }),
]
