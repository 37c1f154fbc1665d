import { Button, Group, Paper, Stack, Text, Title } from "@mantine/core"
import { useState } from "react"
import { Link } from "wouter"
import type { Schemas } from "../../api/client"
import { BudgetGauge } from "../../components/BudgetGauge"
import { Time } from "../../components/Time"
import { UrgencyBadge } from "../../components/UrgencyBadge"
import { BudgetChange } from "./BudgetChange"
import { branchesOf } from "./tree"
import { kindLine } from "./words"

type Budget = Schemas["BudgetRead"]
type Props = {
  budgets: Budget[]
  unit: string | null
  isOfficer: boolean
  chosen: string | undefined
  onChoose: (budget_id: string) => void
}

const indent_rem = 1.25
// deeper than this a phone has no room to say so
const deepest = 3

/** Budgets as parts of one another, each with what is left of it. */
export function BudgetTree({ budgets, unit, isOfficer, chosen, onChoose }: Props) {
  const [changing, setChanging] = useState<Budget | null>(null)
  return (
    <Stack gap="sm">
      {branchesOf(budgets).map(({ budget, depth }) => (
        <Paper
          key={budget.id}
          component="article"
          withBorder
          p="sm"
          aria-label={budget.name}
          ml={`${Math.min(depth, deepest) * indent_rem}rem`}
        >
          <Group justify="space-between" align="flex-start" mb={4}>
            <div style={{ minWidth: 0, flex: "1 1 12rem" }}>
              <Title order={3} className="name">
                {budget.name}
              </Title>
              <Text size="sm" c="dimmed">
                {budget.kind}: {kindLine(budget.kind)}
                {budget.period && (
                  <>
                    ; this one ends <Time at={budget.period.ends_at} />
                  </>
                )}
              </Text>
            </div>
            <UrgencyBadge budget={budget} />
          </Group>
          <BudgetGauge budget={budget} unit={unit} />
          <Group gap="md" mt="xs">
            {budget.state === "proposed" ? (
              <Link href="/approvals" className="text-link">
                Among the approvals
              </Link>
            ) : (
              <Link href={`/ledger?budget=${budget.id}`} className="text-link">
                {budget.entries} {budget.entries === 1 ? "entry" : "entries"}
              </Link>
            )}
            {budget.state !== "proposed" && (
              <Link href={`/risk?budget=${budget.id}`} className="text-link">
                What it means for people
              </Link>
            )}
            {budget.id !== chosen && budget.state !== "proposed" && (
              <Button
                size="compact-xs"
                variant="default"
                onClick={() => onChoose(budget.id)}
                aria-label={`Draw ${budget.name}`}
              >
                Draw
              </Button>
            )}
            {isOfficer && (budget.state === "open" || budget.state === "frozen") && (
              <Button
                size="compact-xs"
                variant="default"
                onClick={() => setChanging(budget)}
                aria-label={`Change ${budget.name}`}
              >
                Change
              </Button>
            )}
          </Group>
        </Paper>
      ))}
      {changing && <BudgetChange budget={changing} whenClosed={() => setChanging(null)} />}
    </Stack>
  )
}
