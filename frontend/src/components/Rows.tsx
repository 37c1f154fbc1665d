import { Button, Group, Stack } from "@mantine/core"
import type { ReactNode } from "react"
import { Titled } from "./Titled"

type Props<Row> = {
  title: string
  one: string
  rows: Row[]
  make: () => Row
  set: (rows: Row[]) => void
  addAt?: string
  children: (row: Row, change: (patch: Partial<Row>) => void, name: string) => ReactNode
}

/** Rows of fields that are added and taken away; each is named, so that its buttons are. */
export function Rows<Row extends { id: number }>(props: Props<Row>) {
  const { title, one, rows, make, set, addAt, children } = props
  return (
    <Titled title={title}>
      <Stack gap="xs">
        {rows.map((row, place) => {
          const name = `${one} ${place + 1}`
          const change = (patch: Partial<Row>) =>
            set(rows.map((each) => (each.id === row.id ? { ...each, ...patch } : each)))
          return (
            <Group key={row.id} role="group" aria-label={name} gap="xs" align="flex-end">
              {children(row, change, name)}
              <Button
                size="xs"
                variant="default"
                aria-label={`Remove ${name.toLowerCase()}`}
                onClick={() => set(rows.filter((each) => each.id !== row.id))}
              >
                Remove
              </Button>
            </Group>
          )
        })}
        <Group>
          <Button id={addAt} size="xs" variant="default" onClick={() => set([...rows, make()])}>
            Add a {one.toLowerCase()}
          </Button>
        </Group>
      </Stack>
    </Titled>
  )
}
