import { Badge, Box } from "@mantine/core"
import { useInfiniteQuery } from "@tanstack/react-query"
import type { ColumnDef } from "@tanstack/react-table"
import type { Schemas } from "../../api/client"
import { deliveryPages } from "../../api/webhooks"
import { DataTable } from "../../components/DataTable"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { MoreButton } from "../../components/MoreButton"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"
import { noticeNames } from "../../lib/notices"

type Delivery = Schemas["DeliveryRead"]

const states = {
  due: { name: "waits", color: "gray" },
  sent: { name: "sent", color: "green" },
  given_up: { name: "given up", color: "red" },
}

const columns: ColumnDef<Delivery>[] = [
  { header: "News", accessorFn: (each) => noticeNames[each.kind] ?? each.kind },
  {
    header: "State",
    accessorKey: "state",
    cell: ({ row }) => {
      const { name, color } = states[row.original.state]
      return <Badge color={color}>{name}</Badge>
    },
  },
  { header: "Attempts", accessorKey: "attempts" },
  { header: "Last failure", accessorFn: (each) => each.failure ?? "none" },
  {
    header: "Of",
    accessorKey: "created_at",
    cell: ({ row }) => <Time at={row.original.created_at} />,
  },
]

export function Deliveries({ webhookId }: { webhookId: string }) {
  const deliveries = useInfiniteQuery(deliveryPages(webhookId))
  return (
    <Box mt="sm">
      {deliveries.error && <ProblemNotice error={deliveries.error} retry={deliveries.refetch} />}
      {deliveries.isPending && <LoadingState lines={2} />}
      {deliveries.data?.length === 0 && <EmptyState title="Nothing was sent to it yet." />}
      {deliveries.data && deliveries.data.length > 0 && (
        <DataTable
          caption="Deliveries"
          columns={columns}
          rows={deliveries.data}
          rowKey={(each) => each.id}
        />
      )}
      <MoreButton pages={deliveries} />
    </Box>
  )
}
