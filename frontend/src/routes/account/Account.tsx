import { Badge, Button, Group, Paper, Stack, Text, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import type { Schemas } from "../../api/client"
import { useChange } from "../../api/pages"
import { endSession, meQuery, sessionKeys, sessionsQuery, waysQuery } from "../../api/session"
import { LoadingState } from "../../components/LoadingState"
import { PageHeader } from "../../components/PageHeader"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"
import { roleAbouts, roleName, type roleNames } from "../../lib/roles"

export default function Account() {
  const me = useQuery(meQuery())
  const ways = useQuery(waysQuery())
  return (
    <>
      <PageHeader title="Account" about={me.data?.name} />
      <Stack gap="xl" maw={720}>
        <section>
          <Title order={2} mb="xs">
            What you may do
          </Title>
          {me.data?.roles.map((role) => (
            <Text key={role} size="sm">
              <b>{roleName(role)}</b>: {roleAbouts[role as keyof typeof roleNames]}
            </Text>
          ))}
        </section>
        <Sessions />
        <section>
          <Title order={2} mb="xs">
            Ways to sign in
          </Title>
          {ways.error && <ProblemNotice error={ways.error} retry={ways.refetch} />}
          {ways.data && <Ways ways={ways.data} />}
        </section>
      </Stack>
    </>
  )
}

function Sessions() {
  const sessions = useQuery(sessionsQuery())
  const ending = useChange(endSession, [...sessionKeys.all, "list"])
  const error = sessions.error ?? ending.error
  return (
    <section>
      <Title order={2} mb="xs">
        Where you are signed in
      </Title>
      {error && <ProblemNotice error={error} retry={sessions.refetch} />}
      {sessions.isPending && <LoadingState lines={2} />}
      <Stack gap="xs">
        {sessions.data?.items.map((each) => (
          <Paper key={each.id} withBorder p="sm">
            <Group justify="space-between">
              <Text size="sm" style={{ minWidth: 0, flex: "1 1 14rem" }}>
                {each.way === "oidc" ? "By the identity provider" : "By a password"}, since{" "}
                <Time at={each.created_at} />, last used <Time at={each.seen_at} isDistance />,
                until <Time at={each.expires_at} />
              </Text>
              {each.is_this_one ? (
                <Badge color="ink">this one</Badge>
              ) : (
                <Button size="xs" variant="default" onClick={() => ending.mutate(each.id)}>
                  End
                </Button>
              )}
            </Group>
          </Paper>
        ))}
      </Stack>
    </section>
  )
}

function Ways({ ways }: { ways: Schemas["WaysRead"] }) {
  return (
    <Stack gap={4}>
      <Text size="sm">
        {ways.password
          ? "A password. To set a new one, ask an administrator for an invitation."
          : "Passwords are switched off here."}
      </Text>
      <Text size="sm">
        {ways.oidc
          ? "Your organisation's identity provider."
          : "No identity provider is set up here."}
      </Text>
      <Text size="sm">
        A key, for programs: an administrator makes it. On your own machine,{" "}
        <code>epsilon-ledger login --browser</code> gets one by this page.
      </Text>
    </Stack>
  )
}
