import { Badge, Button, Group, Paper, Stack, Switch, Text } from "@mantine/core"
import { useInfiniteQuery, useMutation, useQuery, useQueryClient } from "@tanstack/react-query"
import { useState } from "react"
import { Link } from "wouter"
import { api, unwrap } from "../../api/client"
import { markRead } from "../../api/decisions"
import { notificationKeys } from "../../api/notifications"
import { hasRole, meQuery } from "../../api/session"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { PageHeader } from "../../components/PageHeader"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"
import { type Notice, place, sentence } from "./words"

const lookAgain_ms = 10_000

export default function Inbox() {
  const client = useQueryClient()
  const me = useQuery(meQuery())
  const [isUnreadAlone, setIsUnreadAlone] = useState(false)
  const lines = useInfiniteQuery({
    queryKey: [...notificationKeys.all, "pages", isUnreadAlone],
    queryFn: async ({ signal, pageParam }) =>
      unwrap(
        await api.GET("/v1/notifications", {
          params: { query: { unread: isUnreadAlone, cursor: pageParam, limit: 50 } },
          signal,
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next ?? undefined,
    refetchInterval: lookAgain_ms,
  })
  const marking = useMutation({
    mutationFn: markRead,
    onSettled: () => client.invalidateQueries({ queryKey: notificationKeys.all }),
  })
  const items = lines.data?.pages.flatMap((page) => page.items) ?? []
  const marks = me.data !== undefined && hasRole(me.data, "compliance_officer")
  return (
    <>
      <PageHeader
        title="Inbox"
        about="What the service tells all officers of by itself. A line is read once, for all of them."
      >
        <Switch
          label="Unread alone"
          checked={isUnreadAlone}
          onChange={(event) => setIsUnreadAlone(event.currentTarget.checked)}
        />
      </PageHeader>
      {lines.error && <ProblemNotice error={lines.error} retry={lines.refetch} />}
      {marking.error && <ProblemNotice error={marking.error} />}
      {lines.isPending && <LoadingState />}
      {lines.data && items.length === 0 && (
        <EmptyState title={isUnreadAlone ? "Everything is read." : "Nothing has happened yet."}>
          Thresholds that are passed, changes that wait and bursts of refusals appear here.
        </EmptyState>
      )}
      <Stack gap="xs" component="ul" p={0} m={0} style={{ listStyle: "none" }}>
        {items.map((each) => (
          <Line
            key={each.id}
            notice={each}
            mark={marks ? () => marking.mutate(each.id) : undefined}
          />
        ))}
      </Stack>
      {lines.hasNextPage && (
        <Button
          mt="sm"
          size="xs"
          variant="default"
          loading={lines.isFetchingNextPage}
          onClick={() => lines.fetchNextPage()}
        >
          Show older
        </Button>
      )}
    </>
  )
}

function Line({ notice, mark }: { notice: Notice; mark?: () => void }) {
  const to = place(notice)
  const said = sentence(notice)
  const isUnread = notice.read_at === null
  return (
    <Paper component="li" withBorder p="sm">
      <Group justify="space-between" align="flex-start">
        <div style={{ minWidth: 0, flex: "1 1 16rem" }}>
          <Text fw={isUnread ? 600 : 400} className="name">
            {said}
          </Text>
          <Text component="div" size="sm" c="dimmed">
            <Time at={notice.at} isDistance />
            {!isUnread && notice.read_at && (
              <>
                , read <Time at={notice.read_at} isDistance />
              </>
            )}
          </Text>
        </div>
        <Group gap="xs">
          {isUnread && (
            <Badge
              color="gray.7"
              variant="outline"
              styles={{ label: { color: "var(--mantine-color-text)" } }}
            >
              unread
            </Badge>
          )}
          {to && (
            <Link href={to.href} aria-label={`${to.name}: ${said}`}>
              {to.name}
            </Link>
          )}
          {isUnread && mark && (
            <Button
              size="compact-xs"
              variant="default"
              onClick={mark}
              aria-label={`Mark as read: ${said}`}
            >
              Mark as read
            </Button>
          )}
        </Group>
      </Group>
    </Paper>
  )
}
