import { Button, Group, Stack, Text, TextInput } from "@mantine/core"
import { useMutation, useQueryClient } from "@tanstack/react-query"
import { type FormEvent, useEffect, useRef, useState } from "react"
import { Link } from "wouter"
import { budgetKeys } from "../../api/budgets"
import type { Schemas } from "../../api/client"
import { askForMore } from "../../api/quotes"
import { ProblemNotice } from "../../components/ProblemNotice"
import { shownDelta } from "../../lib/amounts"
import { likelyLimit } from "./new/ways"

type Budget = Schemas["BudgetRead"]
type Amount = Schemas["AmountAnswer"]

type Props = {
  budget: Budget
  asked: Amount | null
  left: Amount | null
  purpose: string
  unit: string
}

/** Ask the officers to raise a budget that has refused, or would. */
export function AskForMore({ budget, asked, left, purpose, unit }: Props) {
  const [isOpen, setIsOpen] = useState(false)
  const [epsilon, setEpsilon] = useState(() => likelyLimit(budget.limit.epsilon, asked, left))
  const [reason, setReason] = useState(purpose)
  const client = useQueryClient()
  const asking = useMutation({
    mutationFn: askForMore,
    // also after a refusal: the budget may have moved since it was read
    onSettled: () => client.invalidateQueries({ queryKey: budgetKeys.all }),
  })
  const first = useRef<HTMLInputElement>(null)
  useEffect(() => {
    if (isOpen) first.current?.focus()
  }, [isOpen])
  const submit = (event: FormEvent) => {
    event.preventDefault()
    asking.mutate({ budget_id: budget.id, version: budget.version, epsilon, reason })
  }
  if (asking.data?.approval_id)
    return (
      <Text size="sm" role="status">
        Asked. <Link href={`/approvals/${asking.data.approval_id}`}>The request</Link> waits for an
        officer; what you have typed stays here.
      </Text>
    )
  if (!isOpen)
    return (
      <Group>
        <Button size="xs" variant="default" onClick={() => setIsOpen(true)}>
          Ask for more
        </Button>
      </Group>
    )
  return (
    <form onSubmit={submit} aria-label="Ask for more">
      <Stack gap="xs">
        <TextInput
          label={`New limit of “${budget.name}”: ε, at δ ${shownDelta(budget.limit.delta)} per ${unit}`}
          description={`Now ε ${budget.limit.epsilon}. An officer decides, and a budget above may still refuse.`}
          value={epsilon}
          onChange={(event) => setEpsilon(event.currentTarget.value)}
          inputMode="decimal"
          required
          ref={first}
        />
        <TextInput
          label="Why it is needed"
          value={reason}
          onChange={(event) => setReason(event.currentTarget.value)}
          maxLength={2000}
          required
        />
        {asking.error && <ProblemNotice error={asking.error} />}
        <Group gap="xs">
          <Button type="submit" size="xs" loading={asking.isPending}>
            Send the request
          </Button>
          <Button size="xs" variant="default" onClick={() => setIsOpen(false)}>
            Not now
          </Button>
        </Group>
      </Stack>
    </form>
  )
}
