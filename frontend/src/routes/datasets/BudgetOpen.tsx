import { Button, Group, NativeSelect, Stack, Text, Textarea, TextInput } from "@mantine/core"
import { type FormEvent, useState } from "react"
import { approvalKeys } from "../../api/approvals"
import { budgetKeys, openBudget } from "../../api/budgets"
import type { Schemas } from "../../api/client"
import { useChange } from "../../api/pages"
import { ProblemNotice } from "../../components/ProblemNotice"

const accountants = [
  { value: "rdp-mix/1", label: "rdp-mix/1: queries and training together" },
  { value: "gdp/1", label: "gdp/1: Gaussian noise alone" },
  { value: "pure/1", label: "pure/1: ε alone, δ 0" },
  { value: "basic/1", label: "basic/1: plain sums" },
] as const

type Said = { epsilon: string; delta: string; accountant: string; reason: string }

/** Propose what may ever be learnt about the people of a dataset; a second officer decides. */
export function BudgetOpen({ dataset }: { dataset: Schemas["DatasetRead"] }) {
  const [said, setSaid] = useState<Said>({
    epsilon: "1",
    delta: "0.000001",
    accountant: "rdp-mix/1",
    reason: "",
  })
  const opening = useChange(openBudget, budgetKeys.all, approvalKeys.all)
  const field = (name: keyof Said) => ({
    value: said[name],
    onChange: (event: { currentTarget: { value: string } }) =>
      setSaid({ ...said, [name]: event.currentTarget.value }),
    required: true,
  })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    opening.mutate({
      kind: "lifetime",
      dataset_id: dataset.id,
      name: "lifetime",
      limit: { epsilon: said.epsilon.trim(), delta: said.delta.trim() },
      accountant: said.accountant as Schemas["BudgetCreate"]["accountant"],
      delta_split: "0.9",
      reason: said.reason,
    })
  }
  return (
    <form onSubmit={submit} aria-label="Propose the lifetime budget">
      <Stack maw={560} gap="sm">
        <Text size="sm">
          Nothing may be asked before there is a lifetime budget: the most that may ever be learnt
          about one unit. It never renews, and raising it takes two people.
        </Text>
        {opening.error && <ProblemNotice error={opening.error} />}
        <Group grow align="flex-start">
          <TextInput label="Limit, ε" inputMode="decimal" {...field("epsilon")} />
          <TextInput
            label="Limit, δ"
            description="far below 1 over the number of units"
            inputWrapperOrder={["label", "input", "description", "error"]}
            inputMode="decimal"
            {...field("delta")}
          />
        </Group>
        <NativeSelect label="Accountant" data={accountants} {...field("accountant")} />
        <Textarea label="Reason" maxLength={2000} autosize minRows={2} {...field("reason")} />
        <Group>
          <Button type="submit" loading={opening.isPending} disabled={said.reason.trim() === ""}>
            Propose to a second officer
          </Button>
        </Group>
      </Stack>
    </form>
  )
}
