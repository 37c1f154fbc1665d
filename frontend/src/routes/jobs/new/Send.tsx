import { Alert, Button, Group, List, Stack, Textarea } from "@mantine/core"
import { type FormEvent, type RefObject, useState } from "react"
import { fieldId, useField } from "../../../components/fields"
import type { Draft } from "./draft"
import type { Lack } from "./query"

type SendProps = {
  draft: Draft
  setPurpose: (purpose: string) => void
  missing: Lack[]
  isPending: boolean
  button: RefObject<HTMLButtonElement | null>
  send: () => void
}

/** The last step: what it is for, and the sending. */
export function Send({ draft, setPurpose, missing, isPending, button, send }: SendProps) {
  const [isTried, setIsTried] = useState(false)
  const submit = (event: FormEvent) => {
    event.preventDefault()
    setIsTried(missing.length > 0)
    const [first] = missing
    if (first === undefined) send()
    else document.getElementById(fieldId(first.at))?.focus()
  }
  return (
    <form onSubmit={submit} noValidate aria-label="Send the job">
      <Stack gap="sm" mt="lg" maw={720}>
        <Textarea
          {...useField("/purpose")}
          label="Purpose"
          description="What it is for; officers and auditors read it."
          value={draft.purpose}
          onChange={(event) => setPurpose(event.currentTarget.value)}
          autosize
          minRows={1}
          maxLength={2000}
          withAsterisk
          aria-required
        />
        {isTried && missing.length > 0 && (
          <Alert role="alert" color="red" variant="outline" title="Still needed">
            <List size="sm">
              {missing.map(({ at, text }) => (
                <List.Item key={at}>{text}</List.Item>
              ))}
            </List>
          </Alert>
        )}
        <Group>
          <Button type="submit" ref={button} loading={isPending}>
            {draft.kind === "query" ? "Send the query" : "Send the training run"}
          </Button>
        </Group>
      </Stack>
    </form>
  )
}
