import { Button, Code, Group, TextInput } from "@mantine/core"
import { useInfiniteQuery, useQuery } from "@tanstack/react-query"
import type { ColumnDef } from "@tanstack/react-table"
import { type FormEvent, useState } from "react"
import { auditPages } from "../../api/audit"
import type { Schemas } from "../../api/client"
import { namesQuery } from "../../api/people"
import { hasRole } from "../../api/session"
import { DataTable } from "../../components/DataTable"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { MoreButton } from "../../components/MoreButton"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"
import { factsLine } from "../../lib/facts"
import { AdminPage } from "./AdminPage"

type Event = Schemas["AuditEventRead"]

export default function AuditTrail() {
  return (
    <AdminPage
      path="/admin/audit"
      title="Audit trail"
      about="Who did what, newest first. Nothing in it is ever changed."
    >
      {(me) => <EventList isAdmin={hasRole(me, "admin")} />}
    </AdminPage>
  )
}

function EventList({ isAdmin }: { isAdmin: boolean }) {
  const [action, setAction] = useState("")
  const [wanted, setWanted] = useState<{ action?: string }>({})
  const events = useInfiniteQuery(auditPages(wanted))
  const names = useQuery({ ...namesQuery(), enabled: isAdmin })
  const nameOf = (id: string | null) =>
    id === null ? "the service" : (names.data?.find((each) => each.id === id)?.name ?? id)
  const columns: ColumnDef<Event>[] = [
    { header: "When", accessorKey: "at", cell: ({ row }) => <Time at={row.original.at} /> },
    {
      header: "Who",
      accessorFn: (event) => nameOf(event.actor_id),
      cell: ({ getValue }) => <span className="name">{getValue<string>()}</span>,
    },
    {
      header: "Did",
      accessorKey: "action",
      cell: ({ row }) => <Code>{row.original.action}</Code>,
    },
    {
      header: "To",
      accessorFn: (event) => event.subject ?? "",
      cell: ({ getValue }) => <span className="name">{getValue<string>()}</span>,
    },
    {
      header: "Facts",
      accessorFn: (event) => factsLine(event.facts),
      cell: ({ getValue }) => <span className="name">{getValue<string>()}</span>,
    },
  ]
  const submit = (event: FormEvent) => {
    event.preventDefault()
    setWanted(action.trim() ? { action: action.trim() } : {})
  }
  return (
    <>
      <form onSubmit={submit}>
        <Group align="flex-end" gap="xs" mb="sm">
          <TextInput
            label="Only this action"
            placeholder="api-key.created"
            value={action}
            onChange={(event) => setAction(event.currentTarget.value)}
          />
          <Button type="submit" variant="default">
            Show
          </Button>
        </Group>
      </form>
      {events.error && <ProblemNotice error={events.error} retry={events.refetch} />}
      {events.isPending && <LoadingState />}
      {events.data?.length === 0 && <EmptyState title="No such event." />}
      {events.data && events.data.length > 0 && (
        <DataTable
          caption="Audit trail"
          columns={columns}
          rows={events.data}
          rowKey={(each) => String(each.id)}
        />
      )}
      <MoreButton pages={events} />
    </>
  )
}
