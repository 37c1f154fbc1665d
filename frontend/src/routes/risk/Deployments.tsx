import { Anchor, Stack, Table, Text, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import type { Schemas } from "../../api/client"
import { comparisonQuery } from "../../api/risk"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { ProblemNotice } from "../../components/ProblemNotice"
import { shown, shownDelta } from "../../lib/amounts"
import { Details } from "./Details"

/** Who else publishes the like; what differs in unit, delta or model is not put beside ours. */
export function Deployments({ budget_id }: { budget_id: string }) {
  const found = useQuery(comparisonQuery(budget_id))
  const data = found.data
  return (
    <section aria-labelledby="deployments">
      <Title order={2} id="deployments">
        Beside others: like with like
      </Title>
      {found.error && <ProblemNotice error={found.error} retry={found.refetch} />}
      {found.isPending && <LoadingState />}
      {data && (
        <Stack gap="sm">
          <Text size="sm">
            Ours, the lifetime of this data: ε {shown(data.own.epsilon, "spent")} at δ{" "}
            {shownDelta(data.own.delta)} per {data.own.unit.replaceAll("_", " ")}, relation{" "}
            {data.own.relation}, {data.own.model} model.
          </Text>
          {data.rows.length === 0 ? (
            <EmptyState title="No published figure may stand beside it.">
              Every one differs in what it protects, in its δ or in whom it trusts. The reasons are
              below.
            </EmptyState>
          ) : (
            <Rows caption="Published figures that may stand beside ours" rows={data.rows} />
          )}
          <Text size="sm" c="dimmed">
            {data.note} As of {data.as_of}.
          </Text>
          <Details
            title="Not comparable, and why"
            lines={data.refused.map((each) => `${each.organization}, ${each.product}: ${each.why}`)}
          />
          <details>
            <Text component="summary" size="sm" fw={600} style={{ cursor: "pointer" }}>
              All published figures, by what they protect
            </Text>
            {data.published.map((group) => (
              <div key={group.unit}>
                <Title order={3} mt="sm">
                  Per {group.unit}
                </Title>
                <Rows caption={`Published figures per ${group.unit}`} rows={group.rows} />
              </div>
            ))}
          </details>
        </Stack>
      )}
    </section>
  )
}

function Rows({ caption, rows }: { caption: string; rows: Schemas["DeploymentRead"][] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
    <section className="scrolls" aria-label={caption} tabIndex={0}>
      <Table verticalSpacing={6} tabularNums>
        <caption className="unseen">{caption}</caption>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">Who and what</Table.Th>
            <Table.Th scope="col">Year</Table.Th>
            <Table.Th scope="col">As published</Table.Th>
            <Table.Th scope="col">ε</Table.Th>
            <Table.Th scope="col">δ</Table.Th>
            <Table.Th scope="col">Protects</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {rows.map((row) => (
            <Table.Tr key={`${row.organization} ${row.product}`}>
              <Table.Td miw={180}>
                {row.sources[0]?.startsWith("https://") ? (
                  <Anchor href={row.sources[0]} size="sm" rel="noreferrer" underline="always">
                    {row.organization}, {row.product}
                  </Anchor>
                ) : (
                  `${row.organization}, ${row.product}`
                )}
              </Table.Td>
              <Table.Td>{row.year}</Table.Td>
              <Table.Td>
                {String(row.native.parameter)} {String(row.native.value ?? "")}
              </Table.Td>
              <Table.Td>{row.epsilon ?? row.converted?.epsilon ?? "not published"}</Table.Td>
              <Table.Td>{row.delta ?? row.converted?.delta ?? "not published"}</Table.Td>
              <Table.Td miw={140}>{row.unit_as_published}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </section>
  )
}
