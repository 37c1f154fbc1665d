import { Badge, Button, Code, Group } from "@mantine/core"
import { useInfiniteQuery, useQuery } from "@tanstack/react-query"
import type { ColumnDef } from "@tanstack/react-table"
import { useState } from "react"
import type { Schemas } from "../../api/client"
import { apiKeyKeys, apiKeyPages, revokeApiKey } from "../../api/keys"
import { useChange } from "../../api/pages"
import { namesQuery } from "../../api/people"
import { DataTable } from "../../components/DataTable"
import { LoadingState } from "../../components/LoadingState"
import { MoreButton } from "../../components/MoreButton"
import { ProblemNotice } from "../../components/ProblemNotice"
import { SecretOnce } from "../../components/SecretOnce"
import { Time } from "../../components/Time"
import { keyState, rightNames } from "../../lib/keys"
import { AdminPage } from "./AdminPage"
import { KeyMake } from "./KeyMake"

type Key = Schemas["ApiKeyRead"]

const colors = { "in force": "green", ended: "gray", revoked: "gray" }

export default function Keys() {
  return (
    <AdminPage path="/admin/keys" title="Keys" about="What programs sign in with.">
      {() => <KeyList />}
    </AdminPage>
  )
}

function KeyList() {
  const keys = useInfiniteQuery(apiKeyPages())
  const names = useQuery(namesQuery())
  const revoking = useChange(revokeApiKey, apiKeyKeys.all)
  const [isMaking, setIsMaking] = useState(false)
  const [made, setMade] = useState<Schemas["ApiKeyCreated"] | null>(null)
  const nameOf = (id: string) => names.data?.find((each) => each.id === id)?.name ?? id
  const columns: ColumnDef<Key>[] = [
    { header: "Key", accessorKey: "id", cell: ({ row }) => <Code>{row.original.id}…</Code> },
    {
      header: "Of",
      accessorFn: (key) => nameOf(key.principal_id),
      cell: ({ getValue }) => <span className="name">{getValue<string>()}</span>,
    },
    {
      header: "May",
      accessorFn: (key) =>
        (key.rights?.map((right) => rightNames[right] ?? right).join(", ") ?? "all of its roles") +
        (key.is_runner ? "; a runner's key" : ""),
    },
    {
      header: "State",
      accessorFn: (key) => keyState(key),
      cell: ({ row }) => {
        const state = keyState(row.original)
        return <Badge color={colors[state]}>{state}</Badge>
      },
    },
    {
      header: "Made",
      accessorKey: "created_at",
      cell: ({ row }) => <Time at={row.original.created_at} />,
    },
    {
      header: "Ends",
      accessorFn: (key) => key.expires_at ?? "",
      cell: ({ row }) => {
        const end = row.original.revoked_at ?? row.original.expires_at
        return end ? <Time at={end} /> : "never by itself"
      },
    },
    {
      id: "act",
      header: () => <span className="unseen">Revoke</span>,
      enableSorting: false,
      cell: ({ row }) =>
        keyState(row.original) === "in force" && (
          <Button
            size="compact-xs"
            variant="default"
            aria-label={`Revoke ${row.original.id}`}
            loading={revoking.isPending && revoking.variables === row.original.id}
            onClick={() => revoking.mutate(row.original.id)}
          >
            Revoke
          </Button>
        ),
    },
  ]
  return (
    <>
      {made && (
        <SecretOnce
          title={`A new key of ${nameOf(made.principal_id)}`}
          secret={made.key}
          whenDone={() => setMade(null)}
        />
      )}
      <Group justify="flex-end" mb="sm">
        <Button size="xs" onClick={() => setIsMaking(true)}>
          Make a key
        </Button>
      </Group>
      {revoking.error && <ProblemNotice error={revoking.error} />}
      {keys.error && <ProblemNotice error={keys.error} retry={keys.refetch} />}
      {keys.isPending && <LoadingState />}
      {keys.data && (
        <DataTable caption="Keys" columns={columns} rows={keys.data} rowKey={(each) => each.id} />
      )}
      <MoreButton pages={keys} />
      <KeyMake
        isOpen={isMaking}
        people={names.data?.filter((each) => each.active) ?? []}
        whenClosed={() => setIsMaking(false)}
        whenMade={setMade}
      />
    </>
  )
}
