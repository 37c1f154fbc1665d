import { Badge, Button, Group } from "@mantine/core"
import { useInfiniteQuery, useQuery } from "@tanstack/react-query"
import type { ColumnDef } from "@tanstack/react-table"
import { useState } from "react"
import type { Schemas } from "../../api/client"
import { allMailAddressesQuery, personPages } from "../../api/people"
import { waysQuery } from "../../api/session"
import { DataTable } from "../../components/DataTable"
import { LoadingState } from "../../components/LoadingState"
import { MoreButton } from "../../components/MoreButton"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"
import { roleName } from "../../lib/roles"
import { AdminPage } from "./AdminPage"
import { PersonAdd } from "./PersonAdd"
import { PersonOne } from "./PersonOne"
import { WaysIn } from "./WaysIn"

type Person = Schemas["PersonRead"]

export default function People() {
  return (
    <AdminPage path="/admin/people" title="People" about="Who works here, and in which role.">
      {() => <PeopleList />}
    </AdminPage>
  )
}

function PeopleList() {
  const people = useInfiniteQuery(personPages())
  const addresses = useQuery(allMailAddressesQuery())
  const ways = useQuery(waysQuery())
  const [isAdding, setIsAdding] = useState(false)
  const [openId, setOpenId] = useState<string | null>(null)
  const open = people.data?.find((each) => each.id === openId)
  const addressOf = (id: string) =>
    addresses.data?.find((each) => each.principal_id === id)?.address ?? null
  const columns: ColumnDef<Person>[] = [
    { header: "Name", accessorKey: "name", cell: ({ row }) => <Name person={row.original} /> },
    {
      header: "Roles",
      accessorFn: (person) => person.roles.map(roleName).join(", "),
    },
    {
      header: "State",
      accessorFn: (person) => (person.active ? "works here" : "has left"),
      cell: ({ row }) => (
        <Badge color={row.original.active ? "green" : "gray"}>
          {row.original.active ? "works here" : "has left"}
        </Badge>
      ),
    },
    { header: "Mail", accessorFn: (person) => addressOf(person.id) ?? "none" },
    {
      header: "Since",
      accessorKey: "created_at",
      cell: ({ row }) => <Time at={row.original.created_at} />,
    },
    {
      id: "act",
      header: () => <span className="unseen">Change</span>,
      enableSorting: false,
      cell: ({ row }) => (
        <Button
          size="compact-xs"
          variant="default"
          aria-label={`Change ${row.original.name}`}
          onClick={() => setOpenId(row.original.id)}
        >
          Change
        </Button>
      ),
    },
  ]
  return (
    <>
      <Group justify="space-between" mb="sm" align="flex-end">
        {ways.data && <WaysIn ways={ways.data} />}
        <Button size="xs" onClick={() => setIsAdding(true)}>
          Add a person
        </Button>
      </Group>
      {people.error && <ProblemNotice error={people.error} retry={people.refetch} />}
      {people.isPending && <LoadingState />}
      {people.data && (
        <DataTable
          caption="People"
          columns={columns}
          rows={people.data}
          rowKey={(each) => each.id}
        />
      )}
      <MoreButton pages={people} />
      <PersonAdd isOpen={isAdding} whenClosed={() => setIsAdding(false)} />
      {open && (
        <PersonOne
          key={open.id}
          person={open}
          address={addressOf(open.id)}
          ways={ways.data}
          whenClosed={() => setOpenId(null)}
        />
      )}
    </>
  )
}

const Name = ({ person }: { person: Person }) => <span className="name">{person.name}</span>
