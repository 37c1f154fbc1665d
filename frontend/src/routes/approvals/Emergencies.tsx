import { Alert, Button, Checkbox, Group, List, Modal, Stack, Text, Textarea } from "@mantine/core"
import { useDisclosure } from "@mantine/hooks"
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query"
import { type FormEvent, useState } from "react"
import { Link } from "wouter"
import type { Schemas } from "../../api/client"
import { askToThaw, breakGlass } from "../../api/decisions"
import { exceptionsQuery } from "../../api/ledger"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"

/** What an emergency has frozen and nobody has thawed yet. */
export function Emergencies({ isOfficer }: { isOfficer: boolean }) {
  const open = useQuery(exceptionsQuery())
  const frozen = open.data?.items ?? []
  if (open.error) return <ProblemNotice error={open.error} retry={open.refetch} />
  if (frozen.length === 0) return null
  return (
    <Alert
      color="red"
      variant="outline"
      role="region"
      title={`Emergency: ${frozen.length === 1 ? "one budget is" : `${frozen.length} budgets are`} frozen`}
    >
      <Text size="sm" mb="xs">
        No job starts there until two officers have thawed it: one asks, another agrees.
      </Text>
      <List size="sm" spacing="xs" listStyleType="none">
        {frozen.map((each) => (
          <Frozen key={each.budget_id} exception={each} isOfficer={isOfficer} />
        ))}
      </List>
    </Alert>
  )
}

/** The way to stop everything: one officer may, and it is loud. */
export function EmergencyStop() {
  const [isAsking, { open, close }] = useDisclosure()
  return (
    <>
      <Button
        variant="default"
        size="xs"
        onClick={open}
        style={{ color: "var(--mantine-color-error)", borderColor: "var(--mantine-color-error)" }}
      >
        Emergency: stop everything
      </Button>
      <Modal opened={isAsking} onClose={close} title="Stop everything" size="lg">
        <StopEverything whenDone={close} />
      </Modal>
    </>
  )
}

function Frozen({
  exception,
  isOfficer,
}: {
  exception: Schemas["ExceptionRead"]
  isOfficer: boolean
}) {
  const client = useQueryClient()
  const asking = useMutation({
    mutationFn: () =>
      askToThaw(exception.budget_id, `after the emergency: ${exception.reason}`.slice(0, 2000)),
    onSuccess: () => client.invalidateQueries(),
  })
  return (
    <List.Item styles={{ itemWrapper: { display: "block" }, itemLabel: { display: "block" } }}>
      <Group justify="space-between" gap="xs">
        <span className="name">
          <Link href={`/datasets/${exception.dataset_id}`}>{exception.dataset}</Link>, since{" "}
          <Time at={exception.at} />: {exception.reason}
        </span>
        {isOfficer && !asking.isSuccess && (
          <Button
            size="compact-xs"
            variant="default"
            loading={asking.isPending}
            onClick={() => asking.mutate()}
            aria-label={`Ask to thaw ${exception.dataset}`}
          >
            Ask to thaw
          </Button>
        )}
        {asking.isSuccess && <span role="status">Asked: another officer decides.</span>}
      </Group>
      {asking.error && <ProblemNotice error={asking.error} />}
    </List.Item>
  )
}

function StopEverything({ whenDone }: { whenDone: () => void }) {
  const client = useQueryClient()
  const [reason, setReason] = useState("")
  const [isSure, setIsSure] = useState(false)
  const stopping = useMutation({
    mutationFn: () => breakGlass(reason),
    onSuccess: async () => {
      await client.invalidateQueries()
      whenDone()
    },
  })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    stopping.mutate()
  }
  return (
    <form onSubmit={submit}>
      <Stack>
        <Text size="sm">
          Every open lifetime budget is frozen at once: nothing new starts, and what runs ends at
          its next step. All officers and auditors are told, with your name and your reason. You can
          not undo it alone: each budget goes on only when two officers have thawed it.
        </Text>
        <Textarea
          label="Reason"
          description="It stands in the ledger of every budget, for ever."
          value={reason}
          onChange={(event) => setReason(event.currentTarget.value)}
          maxLength={2000}
          autosize
          minRows={2}
          required
          data-autofocus
        />
        <Checkbox
          label="I mean to stop all work on all datasets now"
          checked={isSure}
          onChange={(event) => setIsSure(event.currentTarget.checked)}
        />
        {stopping.error && <ProblemNotice error={stopping.error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={whenDone}>
            Cancel
          </Button>
          <Button
            type="submit"
            color="red.9"
            disabled={!isSure || reason.trim() === ""}
            loading={stopping.isPending}
          >
            Freeze everything
          </Button>
        </Group>
      </Stack>
    </form>
  )
}
