import { Alert, Button, Group, Paper, Select, Stack, Text, Textarea, Title } from "@mantine/core"
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query"
import { type FormEvent, useState } from "react"
import { approvalKeys } from "../../api/approvals"
import { budgetKeys } from "../../api/budgets"
import { ProblemError } from "../../api/client"
import { type Approval, type Decision, decide, delegationsQuery } from "../../api/decisions"
import { hasRole, type Me } from "../../api/session"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"
import { whyNot } from "./words"

type Props = { approval: Approval; me: Me; isStale: boolean }

const conflicts: Record<string, string> = {
  "approval-not-pending": "Somebody else decided this before you. Below is what was decided.",
  "version-mismatch":
    "What this change is about has changed while you read it. Nothing was decided; look again at what it would do now.",
  "change-mismatch": "This is not the change that you read. Nothing was decided; read it again.",
  "not-delegated": "You may not decide in that officer's place any more. Nothing was decided.",
}

/** Approve or reject with a reason, or why that is not possible, or what was decided. */
export function Decide({ approval, me, isStale }: Props) {
  const client = useQueryClient()
  const [reason, setReason] = useState("")
  const [place, setPlace] = useState<string | null>(null)
  const deciding = useMutation({
    mutationFn: (decision: Decision) => decide(approval, decision, reason.trim(), place),
    onSettled: async () => {
      await client.invalidateQueries({ queryKey: approvalKeys.all })
      await client.invalidateQueries({ queryKey: budgetKeys.all })
    },
  })
  const conflict =
    deciding.error instanceof ProblemError ? conflicts[deciding.error.type] : undefined
  const why = whyNot(approval, me, isStale)
  const mayDecide =
    approval.state === "pending" &&
    hasRole(me, "compliance_officer") &&
    approval.requested_by !== me.id
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const pressed = (event.nativeEvent as SubmitEvent).submitter
    deciding.mutate(pressed?.getAttribute("value") === "approve" ? "approve" : "reject")
  }
  return (
    <Paper component="section" withBorder p="md" aria-labelledby="decision">
      <Title order={2} id="decision" mb="xs">
        Decision
      </Title>
      <Stack gap="sm">
        {conflict ? (
          <Alert role="alert" color="orange" variant="outline" title={conflict} />
        ) : (
          deciding.error && <ProblemNotice error={deciding.error} />
        )}
        {approval.state !== "pending" && <Outcome approval={approval} />}
        {why && <Text size="sm">{why}</Text>}
        {mayDecide && (
          <form onSubmit={submit}>
            <Stack gap="sm">
              <Place approval={approval} me={me} value={place} onChange={setPlace} />
              <Textarea
                label="Reason"
                description="It stands in the ledger beside your name."
                value={reason}
                onChange={(event) => setReason(event.currentTarget.value)}
                maxLength={2000}
                autosize
                minRows={2}
                required
              />
              <Group gap="xs">
                {!isStale && (
                  <Button type="submit" value="approve" loading={deciding.isPending}>
                    Approve
                  </Button>
                )}
                <Button
                  type="submit"
                  value="reject"
                  variant="default"
                  disabled={deciding.isPending}
                >
                  Reject
                </Button>
              </Group>
            </Stack>
          </form>
        )}
      </Stack>
    </Paper>
  )
}

function Place({
  approval,
  me,
  value,
  onChange,
}: {
  approval: Approval
  me: Me
  value: string | null
  onChange: (value: string | null) => void
}) {
  const delegations = useQuery(delegationsQuery())
  const given = (delegations.data?.items ?? []).filter(
    (each) =>
      each.is_in_force && each.delegate_id === me.id && each.delegator_id !== approval.requested_by,
  )
  const names = new Map(
    given.map((each) => [each.delegator_id, each.delegator_name ?? "an officer"]),
  )
  if (names.size === 0) return null
  return (
    <Select
      label="In whose place"
      description="Others have handed you their right to decide for a time."
      data={[
        { value: "", label: "In my own" },
        ...[...names].map(([id, name]) => ({ value: id, label: `On behalf of ${name}` })),
      ]}
      value={value ?? ""}
      onChange={(chosen) => onChange(chosen || null)}
      allowDeselect={false}
    />
  )
}

function Outcome({ approval }: { approval: Approval }) {
  if (approval.state === "expired")
    return (
      <Text size="sm">
        Nobody decided this in time; it expired <Time at={approval.expires_at} />
        {approval.decision_reason && `: ${approval.decision_reason}`}. Nothing was changed.
      </Text>
    )
  const verb = approval.state === "rejected" ? "rejected" : "approved"
  return (
    <Text size="sm" className="name">
      <strong>{approval.decided_by_name ?? "Somebody"}</strong>
      {approval.on_behalf_of_name && ` on behalf of ${approval.on_behalf_of_name}`} {verb} this
      {approval.decided_at && (
        <>
          {" "}
          <Time at={approval.decided_at} />
        </>
      )}
      . Reason: {approval.decision_reason}
    </Text>
  )
}
