import { Group, Paper, Text, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { Link } from "wouter"
import { timelineQuery } from "../../api/budgets"
import type { Schemas } from "../../api/client"
import { BudgetGauge } from "../../components/BudgetGauge"
import { Time } from "../../components/Time"
import { UrgencyBadge } from "../../components/UrgencyBadge"

type Props = { budget: Schemas["BudgetRead"]; dataset?: Schemas["DatasetRead"] }

/** One budget: in what danger it is, what is left of it, and until when that lasts. */
export function BudgetCard({ budget, dataset }: Props) {
  const unit = dataset?.unit_of_privacy?.kind
  return (
    <Paper withBorder p="md" component="article">
      <Group justify="space-between" align="flex-start" mb="xs">
        <div style={{ minWidth: 0, flex: "1 1 14rem" }}>
          <Title order={3} className="name">
            {dataset ? `${dataset.name}: ${budget.name}` : budget.name}
          </Title>
          <Text size="sm" c="dimmed">
            {budget.kind === "lifetime" ? "for the dataset's whole life" : budget.kind}
          </Text>
        </div>
        <UrgencyBadge budget={budget} />
      </Group>
      <BudgetGauge budget={budget} unit={typeof unit === "string" ? unit : null} />
      <Group gap="md" mt="xs">
        <Forecast budget={budget} />
        <Link href={`/ledger?budget=${budget.id}`} className="text-link">
          {budget.entries} {budget.entries === 1 ? "entry" : "entries"}
        </Link>
        <Link href={`/risk?budget=${budget.id}`} className="text-link">
          What it means for people
        </Link>
      </Group>
    </Paper>
  )
}

function Forecast({ budget }: Props) {
  const timeline = useQuery({ ...timelineQuery(budget.id), staleTime: 60_000 })
  const exhausted = timeline.data?.forecast.exhausted_at
  if (timeline.data === undefined) return null
  return (
    <Text size="sm" component="span" title={timeline.data.forecast.basis}>
      {exhausted ? (
        <>
          At this pace used up <Time at={exhausted} isDistance />
        </>
      ) : (
        "No end in sight at this pace"
      )}
    </Text>
  )
}
