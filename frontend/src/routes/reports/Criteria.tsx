import { Badge, Button, Group, Text } from "@mantine/core"
import type { ColumnDef } from "@tanstack/react-table"
import { useState } from "react"
import { DataTable } from "../../components/DataTable"
import {
  byUrgency,
  type CriterionState,
  criterionStates,
  type Finding,
  looks,
} from "../../lib/criteria"

const columns: ColumnDef<Finding>[] = [
  {
    header: "State",
    accessorFn: (finding) => criterionStates.indexOf(finding.state),
    cell: ({ row }) => <State of={row.original.state} />,
  },
  { header: "Section", accessorKey: "section" },
  {
    header: "Criterion",
    accessorKey: "title",
    cell: ({ row }) => (
      <>
        <Text size="sm" fw={500}>
          {row.original.title}
        </Text>
        <Text size="sm" c="dimmed">
          {row.original.rule}
        </Text>
      </>
    ),
  },
  {
    header: "What the record shows",
    accessorKey: "observed",
    cell: ({ row }) => <span className="name">{row.original.observed}</span>,
  },
]

function State({ of }: { of: CriterionState }) {
  const { name, mark, color } = looks[of]
  return (
    <Badge color={color} leftSection={<span aria-hidden="true">{mark}</span>}>
      {name}
    </Badge>
  )
}

/** Criteria with what needs a reader's eye first; counted by state, never summed. */
export function Criteria({ findings }: { findings: Finding[] }) {
  const [only, setOnly] = useState<CriterionState | null>(null)
  const shown = byUrgency(findings).filter((each) => only === null || each.state === only)
  return (
    <>
      <Group gap="xs" mb="xs" component="fieldset" style={{ border: 0, padding: 0, margin: 0 }}>
        <legend className="unseen">Show criteria by state</legend>
        {criterionStates.map((state) => {
          const count = findings.filter((each) => each.state === state).length
          return (
            <Button
              key={state}
              size="xs"
              variant={only === state ? "filled" : "default"}
              aria-pressed={only === state}
              disabled={count === 0}
              onClick={() => setOnly(only === state ? null : state)}
            >
              <span aria-hidden="true">{looks[state].mark}&nbsp;</span>
              {looks[state].name} {count}
            </Button>
          )
        })}
      </Group>
      <Text size="sm" c="dimmed" my="xs" aria-live="polite">
        {only === null ? `All ${findings.length} criteria.` : looks[only].about}
      </Text>
      <DataTable
        caption="Each criterion"
        columns={columns}
        rows={shown}
        rowKey={(each) => each.id}
      />
    </>
  )
}
