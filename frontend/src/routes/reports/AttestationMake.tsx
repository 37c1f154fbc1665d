import { Button, Modal, NativeSelect, Stack, Text, Textarea, TextInput } from "@mantine/core"
import { type FormEvent, useState } from "react"
import type { Schemas } from "../../api/client"
import { useChange } from "../../api/pages"
import { createAttestation, reportKeys } from "../../api/reports"
import { ProblemNotice } from "../../components/ProblemNotice"
import { dayAhead, endOfDay } from "../../lib/days"
import { attestationKinds, factsOf, linesAsk } from "./kinds"

type Kind = Schemas["AttestationCreate"]["kind"]
type Props = { datasets: { id: string; name: string }[]; whenClosed: () => void }

export function AttestationMake({ datasets, whenClosed }: Props) {
  const [kind, setKind] = useState<Kind>("management_assertion")
  const [said, setSaid] = useState({
    dataset: "",
    statement: "",
    until: dayAhead(365),
    lines: "",
    reviewer: "",
    day: "",
  })
  const making = useChange(createAttestation, reportKeys.all)
  const field = (name: keyof typeof said) => ({
    value: said[name],
    onChange: (event: { currentTarget: { value: string } }) =>
      setSaid({ ...said, [name]: event.currentTarget.value }),
  })
  const ask = linesAsk(kind)
  const submit = (event: FormEvent) => {
    event.preventDefault()
    const expires_at = endOfDay(said.until)
    if (expires_at === null) return
    making.mutate(
      {
        dataset_id: said.dataset,
        kind,
        statement: said.statement.trim(),
        facts: factsOf(kind, said),
        expires_at,
      },
      { onSuccess: whenClosed },
    )
  }
  return (
    <Modal
      opened
      onClose={whenClosed}
      title="Attest"
      size="lg"
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <form onSubmit={submit}>
        <Stack>
          {making.error && <ProblemNotice error={making.error} />}
          <NativeSelect
            label="Dataset"
            data={[
              { value: "", label: "Choose a dataset", disabled: true },
              ...datasets.map((each) => ({ value: each.id, label: each.name })),
            ]}
            required
            data-autofocus
            {...field("dataset")}
          />
          <NativeSelect
            label="About"
            value={kind}
            onChange={(event) => setKind(event.currentTarget.value as Kind)}
            data={Object.entries(attestationKinds).map(([value, { name }]) => ({
              value,
              label: name,
            }))}
          />
          <Textarea
            label="Statement"
            description={attestationKinds[kind].asks}
            autosize
            minRows={3}
            required
            {...field("statement")}
          />
          {ask && <Textarea label="Facts" description={ask} autosize {...field("lines")} />}
          {attestationKinds[kind].facts === "review" && (
            <>
              <TextInput label="Reviewer" required {...field("reviewer")} />
              <TextInput type="date" label="Reviewed on" required {...field("day")} />
            </>
          )}
          <TextInput type="date" label="You stand for it until" required {...field("until")} />
          <Text size="sm" c="dimmed">
            It is signed in your name and stays on record, also after you take it back.
          </Text>
          <Button type="submit" loading={making.isPending} disabled={said.dataset === ""}>
            Sign it
          </Button>
        </Stack>
      </form>
    </Modal>
  )
}
