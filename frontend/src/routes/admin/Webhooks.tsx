import { Badge, Button, Group, Paper, Stack, Text, Title } from "@mantine/core"
import { useInfiniteQuery } from "@tanstack/react-query"
import { useState } from "react"
import type { Schemas } from "../../api/client"
import { useChange } from "../../api/pages"
import { endWebhook, webhookKeys, webhookPages } from "../../api/webhooks"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { MoreButton } from "../../components/MoreButton"
import { ProblemNotice } from "../../components/ProblemNotice"
import { SecretOnce } from "../../components/SecretOnce"
import { Time } from "../../components/Time"
import { noticeNames } from "../../lib/notices"
import { AdminPage } from "./AdminPage"
import { Deliveries } from "./Deliveries"
import { WebhookMake } from "./WebhookMake"

type Webhook = Schemas["WebhookRead"]

export default function Webhooks() {
  return (
    <AdminPage
      path="/admin/webhooks"
      title="Webhooks"
      about="Where news is sent: ids and public facts, never figures or rows."
    >
      {() => <WebhookList />}
    </AdminPage>
  )
}

function WebhookList() {
  const webhooks = useInfiniteQuery(webhookPages())
  const [isMaking, setIsMaking] = useState(false)
  const [made, setMade] = useState<Schemas["WebhookCreated"] | null>(null)
  return (
    <>
      {made && (
        <SecretOnce
          title="The secret of the new webhook"
          secret={made.secret}
          whenDone={() => setMade(null)}
        >
          <Text size="sm">The receiver checks the signature of what it is sent with it.</Text>
        </SecretOnce>
      )}
      <Group justify="flex-end" mb="sm">
        <Button size="xs" onClick={() => setIsMaking(true)}>
          Make a webhook
        </Button>
      </Group>
      {webhooks.error && <ProblemNotice error={webhooks.error} retry={webhooks.refetch} />}
      {webhooks.isPending && <LoadingState />}
      {webhooks.data?.length === 0 && (
        <EmptyState title="No webhook yet.">
          A webhook tells another program when a budget runs low, is frozen, or a change waits.
        </EmptyState>
      )}
      <Stack gap="sm">
        {webhooks.data?.map((webhook) => (
          <WebhookOne key={webhook.id} webhook={webhook} />
        ))}
      </Stack>
      <MoreButton pages={webhooks} />
      {isMaking && <WebhookMake whenClosed={() => setIsMaking(false)} whenMade={setMade} />}
    </>
  )
}

function WebhookOne({ webhook }: { webhook: Webhook }) {
  const [isOpen, setIsOpen] = useState(false)
  const ending = useChange(endWebhook, webhookKeys.all)
  const isActive = webhook.ended_at === null
  return (
    <Paper withBorder p="md" component="section" aria-label={webhook.url}>
      <Group justify="space-between" align="flex-start">
        <div style={{ minWidth: 0, flex: "1 1 18rem" }}>
          <Title order={2} className="name" fz="md">
            {webhook.url}
          </Title>
          <Text size="sm" c="dimmed">
            {webhook.kinds.map((kind) => noticeNames[kind] ?? kind).join(" · ")}
          </Text>
          <Text size="sm" c="dimmed">
            Since <Time at={webhook.created_at} />
            {webhook.ended_at && (
              <>
                , until <Time at={webhook.ended_at} />
              </>
            )}
          </Text>
        </div>
        <Group gap="xs">
          <Badge color={isActive ? "green" : "gray"}>{isActive ? "in use" : "ended"}</Badge>
          <Button
            size="xs"
            variant="default"
            aria-expanded={isOpen}
            onClick={() => setIsOpen(!isOpen)}
          >
            Deliveries
          </Button>
          {isActive && (
            <Button
              size="xs"
              variant="default"
              loading={ending.isPending}
              onClick={() => ending.mutate(webhook.id)}
            >
              End
            </Button>
          )}
        </Group>
      </Group>
      {ending.error && <ProblemNotice error={ending.error} />}
      {isOpen && <Deliveries webhookId={webhook.id} />}
    </Paper>
  )
}
