import { Text } from "@mantine/core"
import { useInfiniteQuery, useQuery } from "@tanstack/react-query"
import type { ColumnDef } from "@tanstack/react-table"
import { Link } from "wouter"
import { budgetsQuery } from "../../api/budgets"
import type { Schemas } from "../../api/client"
import { datasetPages } from "../../api/datasets"
import { DataTable } from "../../components/DataTable"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { MoreButton } from "../../components/MoreButton"
import { PageHeader } from "../../components/PageHeader"
import { ProblemNotice } from "../../components/ProblemNotice"
import { UrgencyBadge } from "../../components/UrgencyBadge"
import { shown, shownDelta } from "../../lib/amounts"
import { byUrgency } from "../../lib/urgency"
import { unitName } from "./words"

type Dataset = Schemas["DatasetRead"]
type Budget = Schemas["BudgetRead"]

export default function DatasetList() {
  const datasets = useInfiniteQuery(datasetPages())
  const budgets = useQuery(budgetsQuery({ limit: 200 }))
  const worst = (dataset: Dataset) =>
    byUrgency((budgets.data?.items ?? []).filter((each) => each.dataset_id === dataset.id))[0]
  const columns: ColumnDef<Dataset>[] = [
    {
      header: "Dataset",
      accessorKey: "name",
      cell: ({ row }) => (
        <Link href={`/datasets/${row.original.id}`} className="name">
          {row.original.name}
        </Link>
      ),
    },
    { header: "State", accessorKey: "state" },
    { header: "Protects", accessorFn: (dataset) => unitName(dataset) ?? "nobody: public rows" },
    { header: "People", accessorFn: (dataset) => dataset.population ?? "" },
    {
      header: "Most urgent budget",
      id: "urgent",
      enableSorting: false,
      cell: ({ row }) => <Urgent budget={worst(row.original)} dataset={row.original} />,
    },
  ]
  const error = datasets.error ?? budgets.error
  return (
    <>
      <PageHeader title="Datasets" about="Whose rows they are, and what may still be learnt." />
      {error && <ProblemNotice error={error} retry={datasets.refetch} />}
      {datasets.isPending && <LoadingState />}
      {datasets.data?.length === 0 && (
        <EmptyState title="There is no dataset that you may know of.">
          An officer registers one and grants it to your project.
        </EmptyState>
      )}
      {datasets.data && datasets.data.length > 0 && (
        <DataTable
          caption="Datasets"
          columns={columns}
          rows={datasets.data}
          rowKey={(each) => each.id}
        />
      )}
      <MoreButton pages={datasets} />
    </>
  )
}

function Urgent({ budget, dataset }: { budget: Budget | undefined; dataset: Dataset }) {
  if (dataset.access === "public") return "needs none"
  if (budget === undefined) return "none is open"
  const { remaining, limit } = budget
  return (
    <>
      <UrgencyBadge budget={budget} />
      {remaining !== null && (
        <Text size="sm">
          ε {shown(remaining.epsilon, "left")} left of {shown(limit.epsilon, "left")} at δ{" "}
          {shownDelta(limit.delta)} per {unitName(dataset)}
        </Text>
      )}
    </>
  )
}
