import { Button, Group, Modal, NativeSelect, Stack, TextInput } from "@mantine/core"
import { useInfiniteQuery } from "@tanstack/react-query"
import type { ColumnDef } from "@tanstack/react-table"
import { type FormEvent, useState } from "react"
import type { Schemas } from "../../api/client"
import { connectionKeys, connectionPages, createConnection } from "../../api/connections"
import { useChange } from "../../api/pages"
import { hasRole } from "../../api/session"
import { DataTable } from "../../components/DataTable"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { MoreButton } from "../../components/MoreButton"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"
import { AdminPage } from "./AdminPage"

type Connection = Schemas["ConnectionRead"]
type Kind = Schemas["ConnectionCreate"]["kind"]

const kinds: Record<Kind, { name: string; root: string; about: string }> = {
  folder: { name: "Folder", root: "Folder", about: "Its absolute path where the workers run" },
  sqlite: { name: "SQLite", root: "File", about: "The database's absolute path" },
  postgresql: {
    name: "PostgreSQL",
    root: "Where its address is kept",
    about: "env:EPSILON_SOURCE_NAME or file:/absolute/path, never the address itself",
  },
  s3: { name: "Bucket (S3)", root: "Bucket", about: "s3://bucket/prefix" },
}

export default function Connections() {
  return (
    <AdminPage
      path="/admin/connections"
      title="Connections"
      about="Where rows lie. Only workers read them."
    >
      {(me) => <ConnectionList isAdmin={hasRole(me, "admin")} />}
    </AdminPage>
  )
}

function ConnectionList({ isAdmin }: { isAdmin: boolean }) {
  const connections = useInfiniteQuery(connectionPages())
  const [isAdding, setIsAdding] = useState(false)
  const columns: ColumnDef<Connection>[] = [
    {
      header: "Name",
      accessorKey: "name",
      cell: ({ row }) => <span className="name">{row.original.name}</span>,
    },
    { header: "Kind", accessorFn: (each) => kinds[each.kind as Kind]?.name ?? each.kind },
    ...(isAdmin
      ? [
          {
            header: "Where",
            accessorFn: (each: Connection) => each.root ?? "",
            cell: ({ row }: { row: { original: Connection } }) => (
              <span className="name">
                {row.original.root}
                {row.original.store && ` at ${row.original.store.endpoint}`}
              </span>
            ),
          },
        ]
      : []),
    {
      header: "Since",
      accessorKey: "created_at",
      cell: ({ row }) => <Time at={row.original.created_at} />,
    },
  ]
  return (
    <>
      {isAdmin && (
        <Group justify="flex-end" mb="sm">
          <Button size="xs" onClick={() => setIsAdding(true)}>
            Open a connection
          </Button>
        </Group>
      )}
      {connections.error && <ProblemNotice error={connections.error} retry={connections.refetch} />}
      {connections.isPending && <LoadingState />}
      {connections.data?.length === 0 && (
        <EmptyState title="No connection yet.">
          Datasets name files or tables of a connection, and nothing outside of it.
        </EmptyState>
      )}
      {connections.data && connections.data.length > 0 && (
        <DataTable
          caption="Connections"
          columns={columns}
          rows={connections.data}
          rowKey={(each) => each.id}
        />
      )}
      <MoreButton pages={connections} />
      {isAdding && <ConnectionAdd whenClosed={() => setIsAdding(false)} />}
    </>
  )
}

const nothing = { name: "", root: "", endpoint: "", region: "", credentials: "" }

function ConnectionAdd({ whenClosed }: { whenClosed: () => void }) {
  const [kind, setKind] = useState<Kind>("folder")
  const [said, setSaid] = useState(nothing)
  const adding = useChange(createConnection, connectionKeys.all)
  const field = (name: keyof typeof nothing) => ({
    value: said[name],
    onChange: (event: { currentTarget: { value: string } }) =>
      setSaid({ ...said, [name]: event.currentTarget.value }),
    required: true,
  })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    const { name, root, endpoint, region, credentials } = said
    const store = kind === "s3" ? { endpoint, region, credentials } : null
    adding.mutate({ name, kind, root, store }, { onSuccess: whenClosed })
  }
  return (
    <Modal
      opened
      onClose={whenClosed}
      title="Open a connection"
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <form onSubmit={submit}>
        <Stack>
          {adding.error && <ProblemNotice error={adding.error} />}
          <TextInput
            label="Name"
            description="Small letters, digits, - and _"
            data-autofocus
            {...field("name")}
          />
          <NativeSelect
            label="Kind"
            value={kind}
            onChange={(event) => setKind(event.currentTarget.value as Kind)}
            data={Object.entries(kinds).map(([value, { name }]) => ({ value, label: name }))}
          />
          <TextInput label={kinds[kind].root} description={kinds[kind].about} {...field("root")} />
          {kind === "s3" && (
            <>
              <TextInput label="Endpoint" {...field("endpoint")} />
              <TextInput label="Region" {...field("region")} />
              <TextInput
                label="Where its keys are kept"
                description="env:EPSILON_SOURCE_NAME or file:/absolute/path, never the keys"
                {...field("credentials")}
              />
            </>
          )}
          <Button type="submit" loading={adding.isPending}>
            Open
          </Button>
        </Stack>
      </form>
    </Modal>
  )
}
