import { Button, Stack, Text, Title } from "@mantine/core"
import { useInfiniteQuery, useQuery } from "@tanstack/react-query"
import { createColumnHelper } from "@tanstack/react-table"
import { Link } from "wouter"
import { approvalKeys } from "../../api/approvals"
import { api, unwrap } from "../../api/client"
import type { Approval } from "../../api/decisions"
import { hasRole, meQuery } from "../../api/session"
import { DataTable } from "../../components/DataTable"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { PageHeader } from "../../components/PageHeader"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"
import { Emergencies, EmergencyStop } from "./Emergencies"
import { StateBadge } from "./StateBadge"
import { actionName, subjectName } from "./words"

const lookAgain_ms = 3000

/** Newest first in pages; what waits is asked for again and again, so that news comes by itself. */
const usePages = (state: "pending" | undefined, order: "newest" | "oldest") =>
  useInfiniteQuery({
    queryKey: [...approvalKeys.all, "pages", state ?? "every", order],
    queryFn: async ({ signal, pageParam }) =>
      unwrap(
        await api.GET("/v1/approvals", {
          params: { query: { state, order, cursor: pageParam, limit: 50 } },
          signal,
        }),
      ),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next ?? undefined,
    refetchInterval: state === "pending" ? lookAgain_ms : false,
  })

export default function ApprovalList() {
  const me = useQuery(meQuery())
  const waiting = usePages("pending", "oldest")
  const every = usePages(undefined, "newest")
  const pending = waiting.data?.pages.flatMap((page) => page.items) ?? []
  const decided = (every.data?.pages.flatMap((page) => page.items) ?? []).filter(
    (each) => each.state !== "pending",
  )
  const isOfficer = me.data !== undefined && hasRole(me.data, "compliance_officer")
  const mine = pending.filter((each) => each.requested_by === me.data?.id)
  const others = pending.filter((each) => each.requested_by !== me.data?.id)
  const error = waiting.error ?? every.error
  return (
    <>
      <PageHeader
        title="Approvals"
        about="Changes that need a second person. They take effect the moment that one agrees."
      >
        {isOfficer && <EmergencyStop />}
      </PageHeader>
      <Stack gap="xl">
        {me.data && hasRole(me.data, "compliance_officer", "auditor") && (
          <Emergencies isOfficer={isOfficer} />
        )}
        {error && <ProblemNotice error={error} retry={waiting.refetch} />}
        {waiting.isPending && <LoadingState />}
        {waiting.data && (others.length > 0 || isOfficer) && (
          <section aria-labelledby="waiting">
            <Title order={2} id="waiting">
              {isOfficer ? "Waiting for you" : "Waiting for an officer"}
            </Title>
            {others.length === 0 ? (
              <EmptyState title="Nothing waits for your decision.">
                What somebody else asks for appears here by itself.
              </EmptyState>
            ) : (
              <Approvals caption="Changes that wait" rows={others} />
            )}
          </section>
        )}
        {mine.length > 0 && (
          <section aria-labelledby="mine">
            <Title order={2} id="mine">
              Asked for by you
            </Title>
            <Text size="sm" c="dimmed">
              Another compliance officer decides these: nobody approves their own change.
            </Text>
            <Approvals caption="Changes that you asked for" rows={mine} />
          </section>
        )}
        {waiting.data && !isOfficer && pending.length === 0 && (
          <EmptyState title="No change waits for a decision." />
        )}
        {waiting.hasNextPage && <More query={waiting} />}
        {every.data && (
          <section aria-labelledby="decided">
            <Title order={2} id="decided">
              Decided and expired
            </Title>
            {decided.length === 0 ? (
              <EmptyState title="Nothing has been decided yet." />
            ) : (
              <Approvals caption="Changes that were decided or have expired" rows={decided} />
            )}
            {every.hasNextPage && <More query={every} />}
          </section>
        )}
      </Stack>
    </>
  )
}

function More({ query }: { query: { fetchNextPage: () => unknown; isFetchingNextPage: boolean } }) {
  return (
    <Button
      mt="sm"
      size="xs"
      variant="default"
      loading={query.isFetchingNextPage}
      onClick={() => query.fetchNextPage()}
      style={{ alignSelf: "flex-start" }}
    >
      Show more
    </Button>
  )
}

const column = createColumnHelper<Approval>()

const columns = [
  column.accessor((row) => `${actionName(row.action)}: ${subjectName(row)}`, {
    id: "change",
    header: "Change",
    cell: ({ row, getValue }) => (
      <Link href={`/approvals/${row.original.id}`} className="name">
        {getValue()}
      </Link>
    ),
  }),
  column.accessor((row) => row.requested_by_name ?? "", {
    id: "by",
    header: "Asked by",
    cell: ({ getValue }) => <span className="name">{getValue()}</span>,
  }),
  column.accessor("requested_at", {
    header: "Asked",
    cell: ({ getValue }) => <Time at={getValue()} isDistance />,
  }),
  column.accessor((row) => row.decided_at ?? row.expires_at, {
    id: "until",
    header: "Until, or decided",
    cell: ({ getValue }) => <Time at={getValue()} isDistance />,
  }),
  column.accessor("state", {
    header: "State",
    cell: ({ getValue }) => <StateBadge state={getValue()} />,
  }),
]

function Approvals({ caption, rows }: { caption: string; rows: Approval[] }) {
  return <DataTable caption={caption} columns={columns} rows={rows} rowKey={(row) => row.id} />
}
