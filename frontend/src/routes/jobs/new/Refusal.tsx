import { Alert, Button, Group, Stack, Text } from "@mantine/core"
import { useEffect, useRef } from "react"
import { ProblemError, type Schemas } from "../../../api/client"
import type { Fits } from "../../../api/quotes"
import { ProblemNotice } from "../../../components/ProblemNotice"
import { Time } from "../../../components/Time"
import { AskForMore } from "../AskForMore"
import type { Change, Draft } from "./draft"
import { amountText, atLimit, fittingWays, type Way } from "./ways"

type Budget = Schemas["BudgetRead"]
type Amount = Schemas["AmountAnswer"]

/** A scope that refused and that the caller may read. */
export type Refusing = {
  budget_id: string
  asked: Amount | null
  left: Amount | null
  opens_again_at?: string | undefined
}

type Props = {
  refusing: Refusing[]
  fits: Fits
  /** The noise that a target was solved to, if one was. */
  solved: string | undefined
  draft: Draft
  change: Change
  budgets: readonly Budget[]
  unit: string
  whenTaken: () => void
}

/** Why a request has no room, and the lawful ways on: what fits, or more by two people. */
export function Refusal(props: Props) {
  const { refusing, fits, solved, draft, change, budgets, unit, whenTaken } = props
  const known = refusing.map((each) => {
    const budget = budgets.find(({ id }) => id === each.budget_id)
    return {
      ...each,
      budget,
      asked: atLimit(each.asked, budget),
      left: atLimit(each.left, budget),
    }
  })
  const raisable = known.find(
    ({ budget }) => budget !== undefined && budget.plan === null && budget.state === "open",
  )
  const take = (patch: Partial<Draft>) => {
    change(patch)
    whenTaken()
  }
  return (
    <Alert
      role="region"
      color="orange"
      variant="outline"
      title="It does not fit now. A refusal costs nothing."
      styles={{ title: { color: "var(--mantine-color-text)" } }}
    >
      <Stack gap="xs">
        {known.map(({ budget, asked, left, budget_id, opens_again_at }) => (
          <Text key={budget_id} size="sm" className="name">
            {budget?.name ?? "A budget"}:{" "}
            {asked ? `asks ${amountText(asked, "spent", unit)}` : "has no room"}
            {left ? `, and ${amountText(left, "left", unit)} is left` : ""}.
            {opens_again_at && (
              <>
                {" "}
                It opens again on <Time at={opens_again_at} />.
              </>
            )}
          </Text>
        ))}
        {refusing.length === 0 && (
          <Text size="sm">
            A budget above this one, which you may not read, has no room for it.
          </Text>
        )}
        <Fitting ways={fittingWays(fits, draft, solved)} take={take} />
        {raisable?.budget !== undefined && (
          <AskForMore
            budget={raisable.budget}
            asked={raisable.asked}
            left={raisable.left}
            purpose={draft.purpose}
            unit={unit}
          />
        )}
      </Stack>
    </Alert>
  )
}

type RefusedProps = Omit<Props, "refusing" | "fits"> & { error: Error }

/** A job that was refused as it was sent; it takes the focus, so that nobody misses it. */
export function Refused({ error, ...rest }: RefusedProps) {
  const place = useRef<HTMLDivElement>(null)
  useEffect(() => {
    if (error) place.current?.focus()
  }, [error])
  const facts = error instanceof ProblemError ? error.facts : {}
  return (
    <div ref={place} tabIndex={-1} style={{ marginTop: "1rem" }}>
      {error instanceof ProblemError && error.type === "budget-exceeded" ? (
        <Refusal refusing={refusingOf(facts)} fits={facts.fits as Fits} {...rest} />
      ) : (
        <ProblemNotice error={error} />
      )}
    </div>
  )
}

function refusingOf(facts: Readonly<Record<string, unknown>>): Refusing[] {
  const { budget_id, opens_again_at } = facts.scope as Record<string, string | undefined>
  if (budget_id === undefined) return []
  const amount = (value: unknown) => {
    const { epsilon, delta } = value as Record<string, string | undefined>
    return epsilon === undefined || delta === undefined ? null : { epsilon, delta }
  }
  return [
    {
      budget_id,
      asked: amount(facts.asked),
      left: amount(facts.left),
      opens_again_at,
    },
  ]
}

type Take = (patch: Partial<Draft>) => void

function Fitting({ ways, take }: { ways: Way[]; take: Take }) {
  if (ways.length === 0)
    return <Text size="sm">Nothing of this shape fits, however little it asks for.</Text>
  return (
    <div>
      <Text size="sm">The largest request that fits; it is filled in, and not yet sent:</Text>
      <Group gap="xs" mt={4}>
        {ways.map(({ label, patch }) => (
          <Button key={label} size="xs" onClick={() => take(patch)}>
            {label}
          </Button>
        ))}
      </Group>
    </div>
  )
}
