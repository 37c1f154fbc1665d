import { Alert, Table, Text } from "@mantine/core"
import type { ReactNode } from "react"
import type { Schemas } from "../../api/client"
import type { Effect } from "../../api/decisions"
import { Time } from "../../components/Time"
import { shown, shownDelta } from "../../lib/amounts"

type Standing = Schemas["StandingRead"]
type Scope = Schemas["ScopeEffectRead"]

const kinds: Record<string, string> = {
  lifetime: "Lifetime, which never renews",
  window: "Window, the period in force",
  allocation: "Allocation",
}

const lines: {
  name: string
  of: (standing: Standing) => ReactNode
  key: (s: Standing) => string
}[] = [
  {
    name: "Limit",
    of: ({ limit }) => <>ε {shown(limit.epsilon, "left")}</>,
    key: ({ limit }) => limit.epsilon,
  },
  { name: "at δ", of: ({ limit }) => shownDelta(limit.delta), key: ({ limit }) => limit.delta },
  {
    name: "Consumed",
    of: ({ consumed }) => <>ε {shown(consumed.epsilon, "spent")}</>,
    key: ({ consumed }) => consumed.epsilon,
  },
  {
    name: "Left",
    of: ({ remaining }) => <>ε {shown(remaining.epsilon, "left")}</>,
    key: ({ remaining }) => remaining.epsilon,
  },
  { name: "State", of: ({ state }) => state, key: ({ state }) => state },
  {
    name: "Used up at the recent pace",
    of: ({ exhausted_at }) => (exhausted_at === null ? "not in sight" : <Time at={exhausted_at} />),
    key: ({ exhausted_at }) => exhausted_at ?? "",
  },
  {
    name: "A stranger's guess, if the whole limit is spent",
    of: ({ best_guess_per_100 }) =>
      best_guess_per_100 === "nearly always"
        ? "nearly always right"
        : `right at most ${best_guess_per_100} times in 100`,
    key: ({ best_guess_per_100 }) => best_guess_per_100,
  },
]

/** Each scope as it is and as it would be; figures are the service's own. */
export function EffectTable({ effect, state }: { effect: Effect; state: string }) {
  if (effect.scopes.length === 0)
    return <Text size="sm">It moves no budget: no figure changes by this decision.</Text>
  const unit = effect.unit === null ? "" : ` per ${effect.unit.replaceAll("_", " ")}`
  return (
    <>
      {effect.is_stale && (
        <Alert color="orange" variant="outline" mb="sm" title="The budget has moved on">
          It has changed since this was asked for, so approving is refused. Reject it; whoever asked
          can ask anew.
        </Alert>
      )}
      {effect.scopes.map((scope) => (
        <ScopeTable key={scope.budget_id} scope={scope} isPending={state === "pending"} />
      ))}
      <Text size="sm" c="dimmed">
        Every ε is{unit} and holds at the δ of its table. Blind guessing is right 50 times in 100.
        Used up: by {effect.basis}.
      </Text>
    </>
  )
}

function ScopeTable({ scope, isPending }: { scope: Scope; isPending: boolean }) {
  const { now, if_approved: then } = scope
  const isSame =
    now !== null && then !== null && lines.every((line) => line.key(now) === line.key(then))
  const title = `${kinds[scope.kind] ?? scope.kind}: ${scope.name}`
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
    <section className="scrolls" aria-label={title} tabIndex={0}>
      <Table withTableBorder verticalSpacing={6} tabularNums mb="md">
        <caption style={{ captionSide: "top", textAlign: "left" }}>
          <Text span fw={600} className="name">
            {title}
          </Text>
          {isPending && isSame && <Text span> (stays as it is)</Text>}
        </caption>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">Figure</Table.Th>
            <Table.Th scope="col">{isSame ? "Now and afterwards" : "Now"}</Table.Th>
            {isPending && !isSame && <Table.Th scope="col">If approved</Table.Th>}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {lines.map((line) => (
            <Table.Tr key={line.name}>
              <Table.Th scope="row" fw={400}>
                {line.name}
              </Table.Th>
              <Table.Td>{now === null ? "not open yet" : line.of(now)}</Table.Td>
              {isPending && !isSame && (
                <Table.Td fw={then && now && line.key(now) !== line.key(then) ? 600 : undefined}>
                  {then === null ? "not foretold" : line.of(then)}
                </Table.Td>
              )}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </section>
  )
}
