import { Button, Grid, Paper, Stack, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { type ReactNode, useId, useState } from "react"
import { budgetsQuery } from "../../api/budgets"
import { datasetsQuery } from "../../api/datasets"
import { hasRole, meQuery } from "../../api/session"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { PageHeader } from "../../components/PageHeader"
import { ProblemNotice } from "../../components/ProblemNotice"
import { byUrgency } from "../../lib/urgency"
import { BudgetCard } from "./BudgetCard"
import { Chain, FailedJobs, Pending } from "./Waiting"

const shownAtFirst = 6

export default function Overview() {
  const me = useQuery(meQuery())
  if (me.data === undefined) return null
  const reads = hasRole(me.data, "ml_engineer", "compliance_officer", "auditor")
  const oversees = hasRole(me.data, "compliance_officer", "auditor")
  return (
    <>
      <PageHeader title="Overview" about="Which budgets are in danger, why, and what waits." />
      {reads ? (
        <Grid gap="lg">
          <Grid.Col span={{ base: 12, md: 8 }}>
            <Section title="Budgets by urgency">
              <Budgets />
            </Section>
          </Grid.Col>
          <Grid.Col span={{ base: 12, md: 4 }}>
            <Stack>
              <Section title="Waiting for a decision" isFramed>
                <Pending />
              </Section>
              <Section title="Failed or refuted" isFramed>
                <FailedJobs />
              </Section>
              {oversees && (
                <Section title="The ledger's chain" isFramed>
                  <Chain />
                </Section>
              )}
            </Stack>
          </Grid.Col>
        </Grid>
      ) : (
        <EmptyState title="People, projects, keys and connections are under Admin." />
      )}
    </>
  )
}

type SectionProps = { title: string; isFramed?: boolean; children: ReactNode }

function Section({ title, isFramed = false, children }: SectionProps) {
  const id = useId()
  return (
    <Paper component="section" aria-labelledby={id} withBorder={isFramed} p={isFramed ? "md" : 0}>
      <Title order={2} id={id} mb="sm">
        {title}
      </Title>
      {children}
    </Paper>
  )
}

function Budgets() {
  const budgets = useQuery({ ...budgetsQuery({ limit: 200 }), refetchInterval: 15_000 })
  const datasets = useQuery(datasetsQuery({ limit: 200 }))
  const [showsAll, setShowsAll] = useState(false)
  if (budgets.error) return <ProblemNotice error={budgets.error} retry={budgets.refetch} />
  if (budgets.data === undefined) return <LoadingState />
  const urgent = byUrgency(budgets.data.items)
  if (urgent.length === 0)
    return (
      <EmptyState title="No budget is open yet.">
        An officer registers a dataset and proposes its lifetime budget; a second one approves it.
      </EmptyState>
    )
  const shown = showsAll ? urgent : urgent.slice(0, shownAtFirst)
  return (
    <Stack>
      {shown.map((budget) => (
        <BudgetCard
          key={budget.id}
          budget={budget}
          dataset={datasets.data?.items.find((each) => each.id === budget.dataset_id)}
        />
      ))}
      {urgent.length > shown.length && (
        <Button variant="default" onClick={() => setShowsAll(true)}>
          Show all {urgent.length} budgets
        </Button>
      )}
    </Stack>
  )
}
