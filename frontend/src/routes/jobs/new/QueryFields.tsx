import { Fieldset, SimpleGrid, Stack } from "@mantine/core"
import { Choice, Entry, fieldId, optionsFrom } from "../../../components/fields"
import { Rows } from "../../../components/Rows"
import {
  columnOf,
  type Facts,
  filterable,
  groupable,
  hasOrder,
  needsEdges,
  numbers,
  withKeys,
} from "./columns"
import type { Change, Draft } from "./draft"
import {
  functions,
  hasBounds,
  hasColumn,
  hasGrid,
  type MeasureForm,
  newFilter,
  newGroup,
  newMeasure,
  operators,
  ordered,
  takesValue,
} from "./query"

export type QueryProps = { draft: Draft; change: Change; facts: Facts }

const named = (columns: { name: string }[]) =>
  columns.map(({ name }) => ({ value: name, label: name }))

/** What the query asks, field by field; still while its text is written by hand. */
export function QueryFields({ draft, change, facts }: QueryProps) {
  const { query } = draft
  const set = (patch: Partial<typeof query>) => change({ query: { ...query, ...patch } })
  const offered = optionsFrom(functions)
    .filter(({ value }) => value !== "count_distinct" || facts.unit.column !== undefined)
    .filter(({ value }) => value !== "top_k" || withKeys(facts).length > 0)
  return (
    <Fieldset
      variant="unstyled"
      disabled={draft.text !== null}
      aria-label="What is asked"
      styles={{ root: { padding: 0 } }}
    >
      <Stack>
        <Rows
          title="Figures"
          one="Figure"
          rows={query.measures}
          make={newMeasure}
          set={(measures) => set({ measures })}
          addAt={fieldId("/query/add")}
        >
          {(row, patch) => (
            <MeasureFields row={row} patch={patch} facts={facts} functions={offered} />
          )}
        </Rows>
        <Rows
          title="For each of"
          one="Group"
          rows={query.groups}
          make={newGroup}
          set={(groups) => set({ groups })}
        >
          {(row, patch) => (
            <>
              <Choice
                at={`/query/groups/${row.id}/column`}
                label="Group by"
                none="Choose a column"
                value={row.column}
                set={(column) => patch({ column })}
                options={groupable(facts).map(({ name, keys }) => ({
                  value: name,
                  label: keys === "private" ? `${name} (private keys)` : name,
                }))}
              />
              {needsEdges(columnOf(facts, row.column)) && (
                <Entry
                  at={`/query/groups/${row.id}/edges`}
                  label="Edges"
                  placeholder="0, 100, 500"
                  value={row.edges}
                  set={(edges) => patch({ edges })}
                  isNumber={false}
                />
              )}
            </>
          )}
        </Rows>
        <Rows
          title="Only rows where"
          one="Condition"
          rows={query.filters}
          make={newFilter}
          set={(filters) => set({ filters })}
        >
          {(row, patch) => {
            const at = `/query/filters/${row.id}`
            const isOrdered = hasOrder(columnOf(facts, row.column))
            return (
              <>
                <Choice
                  at={`${at}/column`}
                  label="Column"
                  none="Choose a column"
                  value={row.column}
                  set={(column) => patch({ column, op: "=" })}
                  options={named(filterable(facts))}
                />
                <Choice
                  at={`${at}/op`}
                  label="Condition"
                  value={row.op}
                  set={(op) => patch({ op })}
                  options={optionsFrom(operators).filter(
                    ({ value }) => isOrdered || !ordered.includes(value),
                  )}
                />
                {takesValue(row.op) && (
                  <Entry
                    at={`${at}/value`}
                    label={row.op === "in" ? "Values, with commas" : "Value"}
                    value={row.value}
                    set={(value) => patch({ value })}
                    isNumber={false}
                  />
                )}
                {row.op === "between" && (
                  <Entry
                    at={`${at}/second`}
                    label="and"
                    value={row.second}
                    set={(second) => patch({ second })}
                    isNumber={false}
                  />
                )}
              </>
            )
          }}
        </Rows>
      </Stack>
    </Fieldset>
  )
}

type MeasureProps = {
  row: MeasureForm
  patch: (patch: Partial<MeasureForm>) => void
  facts: Facts
  functions: { value: string; label: string }[]
}

function MeasureFields({ row, patch, facts, functions: offered }: MeasureProps) {
  const at = `/query/measures/${row.id}`
  const column = columnOf(facts, row.column)
  const columns =
    row.fn === "top_k"
      ? withKeys(facts)
      : row.fn === "count of values"
        ? filterable(facts)
        : numbers(facts)
  return (
    <>
      <Choice
        at={`${at}/fn`}
        label="Figure"
        value={row.fn}
        set={(fn) => patch({ fn, column: "" })}
        options={offered}
      />
      {hasColumn(row.fn) && (
        <Choice
          at={`${at}/column`}
          label="Of"
          none="Choose a column"
          value={row.column}
          set={(name) => patch({ column: name, low: "", high: "", grid: "" })}
          options={named(columns)}
        />
      )}
      {hasBounds(row.fn) && (
        <SimpleGrid cols={hasGrid(row.fn) ? 3 : 2} spacing="xs" maw={hasGrid(row.fn) ? 320 : 220}>
          <Entry
            at={`${at}/low`}
            label="From"
            placeholder={column?.bounds?.low}
            value={row.low}
            set={(low) => patch({ low })}
          />
          <Entry
            at={`${at}/high`}
            label="To"
            placeholder={column?.bounds?.high}
            value={row.high}
            set={(high) => patch({ high })}
          />
          {hasGrid(row.fn) && (
            <Entry
              at={`${at}/grid`}
              label="Step"
              placeholder={column?.grid ?? (column?.type === "int64" ? "1" : "")}
              value={row.grid}
              set={(grid) => patch({ grid })}
            />
          )}
        </SimpleGrid>
      )}
      {row.fn === "quantile" && (
        <Entry
          at={`${at}/quantile`}
          label="Quantile"
          placeholder="0.5"
          value={row.quantile}
          set={(quantile) => patch({ quantile })}
        />
      )}
      {(row.fn === "histogram" || row.fn === "top_k") && (
        <Entry
          at={`${at}/count`}
          label={row.fn === "top_k" ? "How many keys" : "How many bins"}
          value={row.count}
          set={(count) => patch({ count })}
        />
      )}
    </>
  )
}
