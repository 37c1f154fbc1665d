import { Select, Stack } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { Redirect, useParams, useSearchParams } from "wouter"
import { budgetQuery, budgetsQuery } from "../../api/budgets"
import { datasetsQuery } from "../../api/datasets"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { PageHeader } from "../../components/PageHeader"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Chain } from "./Chain"

const about = "Every charge, in the order in which it was made."

export default function Ledger() {
  const { budget, seq } = useParams<{ budget?: string; seq?: string }>()
  if (budget !== undefined) return <Redirect to={`/ledger?budget=${budget}&seq=${seq}`} replace />
  return <Chosen />
}

function Chosen() {
  const budgets = useQuery(budgetsQuery({ limit: 200 }))
  const datasets = useQuery(datasetsQuery({ limit: 200 }))
  const [search, setSearch] = useSearchParams()
  const listed = (budgets.data?.items ?? []).filter((each) => each.state !== "proposed")
  const first = listed.find((each) => each.kind === "lifetime") ?? listed[0]
  const chosen = search.get("budget") ?? first?.id
  const named = (id: string) =>
    datasets.data?.items.find((each) => each.id === id)?.name ?? "dataset"
  const error = budgets.error ?? datasets.error
  const isRead = budgets.data !== undefined && datasets.data !== undefined
  return (
    <>
      <PageHeader title="Ledger" about={about} />
      {error && <ProblemNotice error={error} retry={budgets.refetch} />}
      {(budgets.isPending || datasets.isPending) && <LoadingState />}
      {isRead && chosen === undefined && (
        <EmptyState title="There is no open budget yet.">
          Once an officer has opened one, its entries stand here.
        </EmptyState>
      )}
      {isRead && chosen !== undefined && (
        <Stack gap="md">
          <Select
            label="Budget"
            searchable
            data={listed.map((each) => ({
              value: each.id,
              label: `${named(each.dataset_id)} / ${each.name} (${each.kind})`,
            }))}
            value={chosen}
            onChange={(id) => id && setSearch({ budget: id })}
            allowDeselect={false}
            maw={520}
          />
          <OfBudget key={chosen} budget_id={chosen} />
        </Stack>
      )}
    </>
  )
}

function OfBudget({ budget_id }: { budget_id: string }) {
  const budget = useQuery(budgetQuery(budget_id))
  if (budget.error) return <ProblemNotice error={budget.error} retry={budget.refetch} />
  if (budget.data === undefined) return <LoadingState />
  if (budget.data.entries === 0)
    return <EmptyState title="This budget has no entry before it is opened." />
  return <Chain budget={budget.data} />
}
