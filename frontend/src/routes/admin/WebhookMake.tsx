import { Button, Checkbox, Modal, Stack, TextInput } from "@mantine/core"
import { type FormEvent, useState } from "react"
import type { Schemas } from "../../api/client"
import { useChange } from "../../api/pages"
import { createWebhook, webhookKeys } from "../../api/webhooks"
import { ProblemNotice } from "../../components/ProblemNotice"
import { noticeNames } from "../../lib/notices"

type Kind = Schemas["WebhookCreate"]["kinds"][number]

type Props = { whenClosed: () => void; whenMade: (made: Schemas["WebhookCreated"]) => void }

export function WebhookMake({ whenClosed, whenMade }: Props) {
  const [url, setUrl] = useState("")
  const [kinds, setKinds] = useState(Object.keys(noticeNames) as Kind[])
  const making = useChange(createWebhook, webhookKeys.all)
  const submit = (event: FormEvent) => {
    event.preventDefault()
    making.mutate(
      { url, kinds },
      {
        onSuccess: (made) => {
          whenMade(made)
          whenClosed()
        },
      },
    )
  }
  return (
    <Modal
      opened
      onClose={whenClosed}
      title="Make a webhook"
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <form onSubmit={submit}>
        <Stack>
          {making.error && <ProblemNotice error={making.error} />}
          <TextInput
            type="url"
            label="Address"
            description="https, or http to the machine that the service runs on"
            value={url}
            onChange={(event) => setUrl(event.currentTarget.value)}
            required
            data-autofocus
          />
          <Checkbox.Group
            label="What it is told"
            value={kinds}
            onChange={(chosen) => setKinds(chosen as Kind[])}
            error={kinds.length === 0 ? "Choose at least one." : null}
          >
            <Stack gap="xs" mt={6}>
              {Object.entries(noticeNames).map(([kind, name]) => (
                <Checkbox key={kind} value={kind} label={name} />
              ))}
            </Stack>
          </Checkbox.Group>
          <Button type="submit" loading={making.isPending} disabled={kinds.length === 0}>
            Make the webhook
          </Button>
        </Stack>
      </form>
    </Modal>
  )
}
