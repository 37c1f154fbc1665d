import { Paper, Select, SimpleGrid, Stack, Text, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { useSearchParams } from "wouter"
import { budgetQuery, budgetsQuery } from "../../api/budgets"
import type { Schemas } from "../../api/client"
import { datasetsQuery } from "../../api/datasets"
import { riskQuery } from "../../api/risk"
import { BudgetGauge } from "../../components/BudgetGauge"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { PageHeader } from "../../components/PageHeader"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Deployments } from "./Deployments"
import { Statement } from "./Statement"
import { Trace } from "./Trace"
import { WhatIf } from "./WhatIf"

type Budget = Schemas["BudgetRead"]

const about = "What the budgets mean for a person in the data, in odds before formulas."

export default function Risk() {
  const budgets = useQuery(budgetsQuery({ limit: 200 }))
  const datasets = useQuery(datasetsQuery({ limit: 200 }))
  const [search, setSearch] = useSearchParams()
  const known = (budgets.data?.items ?? []).filter(
    (each) => each.state !== "proposed" && each.kind !== "period",
  )
  const first = known.find((each) => each.kind === "lifetime") ?? known[0]
  const chosen = search.get("budget") ?? first?.id
  const named = (id: string) =>
    datasets.data?.items.find((each) => each.id === id)?.name ?? "dataset"
  const error = budgets.error ?? datasets.error
  return (
    <>
      <PageHeader title="Risk" about={about} />
      {error && <ProblemNotice error={error} retry={budgets.refetch} />}
      {(budgets.isPending || datasets.isPending) && <LoadingState />}
      {budgets.data && datasets.data && chosen === undefined && (
        <EmptyState title="There is no open budget yet.">
          Once an officer has opened one, this page says what it means for a person.
        </EmptyState>
      )}
      {budgets.data && datasets.data && chosen !== undefined && (
        <Stack gap="xl">
          <Select
            label="Budget"
            searchable
            data={known.map((each) => ({
              value: each.id,
              label: `${named(each.dataset_id)} / ${each.name} (${each.kind})`,
            }))}
            value={chosen}
            onChange={(id) => id && setSearch({ budget: id })}
            allowDeselect={false}
            maw={520}
          />
          <Chosen key={chosen} budget_id={chosen} all={known} />
        </Stack>
      )}
    </>
  )
}

function Chosen({ budget_id, all }: { budget_id: string; all: Budget[] }) {
  const budget = useQuery(budgetQuery(budget_id))
  const risk = useQuery(riskQuery(budget_id))
  if (budget.error) return <ProblemNotice error={budget.error} retry={budget.refetch} />
  if (!budget.data) return <LoadingState />
  const root = all.find(
    (each) => each.kind === "lifetime" && each.dataset_id === budget.data.dataset_id,
  )
  return (
    <>
      <Beside budget={budget.data} root={root} unit={risk.data?.unit ?? null} />
      <Statement budget_id={budget_id} />
      <section aria-label="What if">
        {risk.error && <ProblemNotice error={risk.error} retry={risk.refetch} />}
        {risk.isPending && <LoadingState lines={6} />}
        {risk.data && <WhatIf risk={risk.data} />}
      </section>
      <Trace budget_id={budget_id} />
      <Deployments budget_id={budget_id} />
    </>
  )
}

/** A window renews and the lifetime does not: the one is never shown without the other. */
function Beside({
  budget,
  root,
  unit,
}: {
  budget: Budget
  root: Budget | undefined
  unit: string | null
}) {
  const shown = root === undefined || root.id === budget.id ? [budget] : [budget, root]
  return (
    <SimpleGrid cols={{ base: 1, md: 2 }}>
      {shown.map((each) => (
        <Paper key={each.id} component="section" withBorder p="md" aria-label={each.name}>
          <Title order={2} className="name">
            {each.name}
          </Title>
          <Text size="sm" c="dimmed" mb="xs">
            {each.kind === "lifetime"
              ? "Lifetime: counts everything, and never renews."
              : each.kind === "window"
                ? "Window: begins anew each period; the lifetime beside it counts on."
                : "Allocation: a share; the lifetime beside it counts everything."}
          </Text>
          <BudgetGauge budget={each} unit={unit} />
        </Paper>
      ))}
    </SimpleGrid>
  )
}
