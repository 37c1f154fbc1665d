import { List, Stack, Table, Text, Title } from "@mantine/core"
import { useQueries, useQuery } from "@tanstack/react-query"
import { Link } from "wouter"
import { budgetQuery } from "../../api/budgets"
import type { Schemas } from "../../api/client"
import { type Quote, type QuotedCharge, quoteQuery } from "../../api/quotes"
import { Amount } from "../../components/Amount"
import { LoadingState } from "../../components/LoadingState"
import { ProblemNotice } from "../../components/ProblemNotice"
import { compare, type Sense } from "../../lib/amounts"
import { AskForMore } from "./AskForMore"
import { againPlace, waysToFit } from "./again"
import { refusalOf } from "./refusal"
import { type Job, scopeName } from "./words"

type Amounts = Schemas["AmountAnswer"]
type Budget = Schemas["BudgetRead"]
type Unit = string | null
type Props = { job: Job; unit: Unit }

/** How the same request would go now, and the lawful ways on where it would be refused. */
export function IfAskedNow({ job, unit }: Props) {
  const quote = useQuery(quoteQuery(requestOf(job)))
  const found = quote.data
  return (
    <section aria-labelledby="again">
      <Title order={2} id="again" mb="xs">
        If it were asked now
      </Title>
      {quote.error && <ProblemNotice error={quote.error} retry={quote.refetch} />}
      {quote.isPending && <LoadingState lines={2} />}
      {found?.admitted_now && (
        <Text size="sm">It would be admitted: every budget on its way has room.</Text>
      )}
      {found && !found.admitted_now && <Refused job={job} quote={found} unit={unit} />}
    </section>
  )
}

/** The very same request; what it would cost is asked for, not whether it was paid for before. */
const requestOf = (job: Job): Schemas["QuoteCreate"] => ({
  kind: job.kind as Schemas["QuoteCreate"]["kind"],
  inputs: job.inputs as Schemas["QuoteCreate"]["inputs"],
  spec: job.spec,
  reuse: false,
})

function Refused({ job, quote, unit }: Props & { quote: Quote }) {
  const budgets = useQueries({
    queries: quote.charges.map(({ budget_id }) => budgetQuery(budget_id)),
  })
  if (budgets.some((each) => each.isPending)) return <LoadingState lines={2} />
  const scopes = quote.charges.map((charge, at) => ({ charge, budget: budgets[at]?.data }))
  const refusal = refusalOf(
    scopes.map(({ charge, budget }) => ({
      name: budget?.name ?? "a budget",
      state: budget?.state ?? "open",
      fits: charge.fits,
      hasRoom: charge.remaining_after !== null,
    })),
  )
  const ways = refusal.isOfAmount ? waysToFit(job.kind, quote.fits, job.spec) : []
  const lacking = refusal.isOfAmount ? tightest(quote.charges) : undefined
  const lackingBudget = scopes.find(({ charge }) => charge === lacking)?.budget
  return (
    <Stack gap="sm">
      <Text size="sm" className="name">
        {refusal.text}
      </Text>
      <Scopes scopes={scopes} unit={unit} />
      {refusal.isOfAmount && ways.length === 0 && (
        <Text size="sm">No smaller request of this kind would pass either.</Text>
      )}
      {ways.length > 0 && (
        <div>
          <Text size="sm">What would pass now:</Text>
          <List size="sm">
            {ways.map(({ change, words }) => (
              <List.Item key={words}>
                {words}
                {change.epsilon !== undefined && ` per ${unit ?? "unit"}`}:{" "}
                <Link href={againPlace(job.id, change)}>submit what fits</Link>
              </List.Item>
            ))}
          </List>
        </div>
      )}
      {lackingBudget && lacking && (
        <AskForMore
          budget={lackingBudget}
          asked={lacking.asked}
          left={lacking.remaining}
          purpose={job.purpose}
          unit={unit ?? "unit"}
        />
      )}
    </Stack>
  )
}

/** The refusing budget with the least left; a plan has slots, and is never raised. */
function tightest(charges: QuotedCharge[]): QuotedCharge | undefined {
  const [least] = charges
    .filter((each) => !each.fits && each.remaining !== null)
    .sort((one, other) => compare(one.remaining?.epsilon ?? "0", other.remaining?.epsilon ?? "0"))
  return least
}

type ScopesProps = { scopes: { charge: QuotedCharge; budget: Budget | undefined }[]; unit: Unit }

function Scopes({ scopes, unit }: ScopesProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
    <section className="scrolls" aria-label="Budgets on its way" tabIndex={0}>
      <Table verticalSpacing={4} tabularNums>
        <caption className="unseen">Budgets on its way, what is asked and what is left</caption>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">Budget</Table.Th>
            <Table.Th scope="col">Asked</Table.Th>
            <Table.Th scope="col">Left</Table.Th>
            <Table.Th scope="col">Passes</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {scopes.map(({ charge, budget }) => (
            <Table.Tr key={charge.budget_id}>
              <Table.Th scope="row" fw={400} className="name">
                <Link href={`/ledger?budget=${charge.budget_id}`}>{budget?.name ?? "budget"}</Link>{" "}
                ({scopeName(charge.kind)})
              </Table.Th>
              <Table.Td>
                <AtLimit amount={charge.asked} sense="spent" budget={budget} unit={unit} />
              </Table.Td>
              <Table.Td>
                <AtLimit amount={charge.remaining} sense="left" budget={budget} unit={unit} />
              </Table.Td>
              <Table.Td>{charge.fits ? "yes" : "no"}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </section>
  )
}

type AtLimitProps = {
  amount: Amounts | null
  sense: Sense
  budget: Budget | undefined
  unit: Unit
}

/** An epsilon with the delta that it is proven for: that of the budget's limit. */
function AtLimit({ amount, sense, budget, unit }: AtLimitProps) {
  if (amount === null) return "slots of a plan"
  if (budget === undefined) return "not known"
  const { epsilon } = amount
  return <Amount amount={{ epsilon, delta: budget.limit.delta }} sense={sense} unit={unit} />
}
