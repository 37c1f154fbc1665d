import { Table, Text, Title } from "@mantine/core"
import { useInfiniteQuery, useQuery } from "@tanstack/react-query"
import type { ColumnDef } from "@tanstack/react-table"
import type { ReactNode } from "react"
import { Link } from "wouter"
import type { Schemas } from "../../api/client"
import { populationQuery, versionPages } from "../../api/datasets"
import { DataTable } from "../../components/DataTable"
import { Hash } from "../../components/Hash"
import { LoadingState } from "../../components/LoadingState"
import { MoreButton } from "../../components/MoreButton"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"
import { shown, shownDelta } from "../../lib/amounts"
import { blocksLine, relationLine, trustLine, unitLine, valuesLine } from "./words"

type Dataset = Schemas["DatasetRead"]

/** What is publicly known of a dataset, and never changes but where it says so. */
export function Facts({ dataset }: { dataset: Dataset }) {
  const size = dataset.nominal_size?.toLocaleString("en-GB")
  const facts: [string, ReactNode][] = [
    ["Protects", unitLine(dataset.unit_of_privacy)],
    ["Neighbours", relationLine(dataset.relation)],
    ["Trust model", trustLine(dataset.trust_model)],
    ["Public size", size ? `about ${size}, as declared` : "not declared"],
    ["Blocks", blocksLine(dataset.blocks)],
    ["Purpose", dataset.purpose ?? "not stated"],
    ["Who sees the rows", dataset.raw_viewers?.join(", ") || "nobody is named"],
    ["Kept until", dataset.retain_until ?? "not stated"],
    ["Registered", <Time key="at" at={dataset.created_at} />],
  ]
  return (
    <Table withTableBorder verticalSpacing={6} tabularNums maw={820}>
      <caption className="unseen">What is known of {dataset.name}</caption>
      <Table.Tbody>
        {facts.map(([name, value]) => (
          <Table.Tr key={name}>
            <Table.Th scope="row" fw={500} w={160}>
              {name}
            </Table.Th>
            <Table.Td className="name">{value}</Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  )
}

type Column = Dataset["columns"][number]

const columns: ColumnDef<Column>[] = [
  { header: "Column", accessorFn: (column) => String(column.name) },
  { header: "Type", accessorFn: (column) => String(column.type) },
  { header: "Missing values", accessorFn: (column) => (column.nullable ? "may be" : "none") },
  { header: "Values, publicly", accessorFn: valuesLine },
]

export const Schema = ({ dataset }: { dataset: Dataset }) => (
  <DataTable
    caption={`Columns of ${dataset.name}`}
    columns={columns}
    rows={dataset.columns}
    rowKey={(column) => String(column.name)}
  />
)

export function Versions({ dataset }: { dataset: Dataset }) {
  const versions = useInfiniteQuery(versionPages(dataset.id))
  if (versions.error) return <ProblemNotice error={versions.error} retry={versions.refetch} />
  if (versions.data === undefined) return <LoadingState lines={2} />
  const hasBlocks = dataset.blocks != null && dataset.blocks.kind !== "none"
  const shows = versions.data.some((each) => each.path != null)
  const told: ColumnDef<Schemas["VersionRead"]>[] = [
    { header: "Version", accessorKey: "version" },
    {
      header: "Since",
      accessorKey: "created_at",
      cell: ({ row }) => <Time at={row.original.created_at} />,
    },
    ...(hasBlocks ? [{ header: "Blocks closed", accessorKey: "closed_blocks" } as const] : []),
    ...(shows
      ? ([
          { header: "Rows", accessorFn: (each) => `${each.path} (${each.format})` },
          {
            header: "SHA-256",
            accessorFn: (each) => each.sha256 ?? "",
            cell: ({ row }) =>
              row.original.sha256 ? (
                <Hash of={row.original.sha256} what="digest" />
              ) : (
                "not declared"
              ),
          },
        ] satisfies ColumnDef<Schemas["VersionRead"]>[])
      : []),
  ]
  return (
    <>
      <DataTable
        caption={`Versions of ${dataset.name}`}
        columns={told}
        rows={versions.data}
        rowKey={(each) => String(each.version)}
      />
      <MoreButton pages={versions} />
    </>
  )
}

/** The other datasets about the same people, whose losses add up in the worst case. */
export function Population({ name }: { name: string }) {
  const found = useQuery(populationQuery(name))
  if (found.error) return <ProblemNotice error={found.error} retry={found.refetch} />
  if (found.data === undefined) return <LoadingState lines={2} />
  const told: ColumnDef<Schemas["PopulationDataset"]>[] = [
    {
      header: "Dataset",
      accessorKey: "name",
      cell: ({ row }) => (
        <Link href={`/datasets/${row.original.dataset_id}`} className="name">
          {row.original.name}
        </Link>
      ),
    },
    { header: "Unit", accessorFn: (each) => each.unit.replaceAll("_", " ") },
    {
      header: "Consumed for life, ε",
      accessorFn: (each) =>
        each.consumed && each.limit
          ? `${shown(each.consumed.epsilon, "spent")} of ${shown(each.limit.epsilon, "left")} at δ ${shownDelta(each.limit.delta)}`
          : "no lifetime budget",
    },
  ]
  return (
    <>
      <DataTable
        caption={`Datasets about ${name}`}
        columns={told}
        rows={found.data.datasets}
        rowKey={(each) => each.dataset_id}
      />
      {found.data.sums.map((sum) => (
        <Text size="sm" mt="xs" key={`${sum.unit} ${sum.relation}`}>
          Together, per {sum.unit.replaceAll("_", " ")}: ε {shown(sum.consumed.epsilon, "spent")} of{" "}
          {shown(sum.limit.epsilon, "left")} at δ {shownDelta(sum.limit.delta)}, over {sum.datasets}{" "}
          {sum.datasets === 1 ? "dataset" : "datasets"}.
        </Text>
      ))}
      <Text size="sm" c="dimmed" mt="xs">
        {found.data.note}
      </Text>
    </>
  )
}

export function Section({
  id,
  title,
  children,
}: {
  id: string
  title: string
  children: ReactNode
}) {
  return (
    <section aria-labelledby={id}>
      <Title order={2} id={id} mb="xs">
        {title}
      </Title>
      {children}
    </section>
  )
}
