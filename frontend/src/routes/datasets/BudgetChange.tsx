import {
  Alert,
  Button,
  Group,
  Modal,
  NativeSelect,
  Stack,
  Textarea,
  TextInput,
} from "@mantine/core"
import { type FormEvent, useState } from "react"
import { Link } from "wouter"
import { approvalKeys } from "../../api/approvals"
import { budgetKeys, changeBudget } from "../../api/budgets"
import type { Schemas } from "../../api/client"
import { useChange } from "../../api/pages"
import { ProblemNotice } from "../../components/ProblemNotice"
import { actionsOn, changeOf, type Said } from "./changes"

type Props = { budget: Schemas["BudgetRead"]; whenClosed: () => void }

/** Ask for a change of a budget: what gives more needs a second officer, what takes away does not. */
export function BudgetChange({ budget, whenClosed }: Props) {
  const actions = actionsOn(budget)
  const [said, setSaid] = useState<Said>({
    action: actions[0]?.action ?? "freeze",
    epsilon: budget.limit.epsilon,
    delta: budget.limit.delta,
    reason: "",
  })
  const changing = useChange(changeBudget, budgetKeys.all, approvalKeys.all)
  const chosen = actions.find(({ action }) => action === said.action)
  const field = (name: "epsilon" | "delta" | "reason") => ({
    value: said[name],
    onChange: (event: { currentTarget: { value: string } }) =>
      setSaid({ ...said, [name]: event.currentTarget.value }),
    required: true,
  })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    changing.mutate({ budget, body: changeOf(said, budget) })
  }
  return (
    <Modal
      opened
      onClose={whenClosed}
      title={`Change ${budget.name}`}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      {changing.data ? (
        <Stack>
          <Alert role="status" variant="outline" title={doneTitle(changing.data.state)}>
            {changing.data.state === "pending" && changing.data.approval_id ? (
              <>
                It takes effect when another officer agrees:{" "}
                <Link href={`/approvals/${changing.data.approval_id}`}>what was asked for</Link>.
              </>
            ) : (
              "It holds from now on and stands in the ledger."
            )}
          </Alert>
          <Button variant="default" onClick={whenClosed}>
            Close
          </Button>
        </Stack>
      ) : (
        <form onSubmit={submit}>
          <Stack>
            {changing.error && <ProblemNotice error={changing.error} />}
            <NativeSelect
              label="What to do"
              description={chosen?.about}
              data={actions.map(({ action, name }) => ({ value: action, label: name }))}
              value={said.action}
              onChange={(event) =>
                setSaid({ ...said, action: event.currentTarget.value as Said["action"] })
              }
              data-autofocus
            />
            {(said.action === "raise" || said.action === "lower") && (
              <>
                <TextInput label="New limit, ε" inputMode="decimal" {...field("epsilon")} />
                <TextInput label="New limit, δ" inputMode="decimal" {...field("delta")} />
              </>
            )}
            <Textarea
              label="Reason"
              description="It stands in the ledger, for ever."
              maxLength={2000}
              autosize
              minRows={2}
              {...field("reason")}
            />
            <Group justify="flex-end">
              <Button variant="default" onClick={whenClosed}>
                Cancel
              </Button>
              <Button
                type="submit"
                loading={changing.isPending}
                disabled={said.reason.trim() === ""}
              >
                {chosen?.needsSecond ? "Ask a second officer" : "Do it"}
              </Button>
            </Group>
          </Stack>
        </form>
      )}
    </Modal>
  )
}

const doneTitle = (state: string) => (state === "pending" ? "Asked" : "Done")
