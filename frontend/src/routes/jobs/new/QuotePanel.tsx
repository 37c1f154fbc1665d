import { Alert, Button, Checkbox, Group, Paper, Stack, Text, Title } from "@mantine/core"
import { useDebouncedValue } from "@mantine/hooks"
import { keepPreviousData, useQuery } from "@tanstack/react-query"
import { Link } from "wouter"
import { ProblemError, type Schemas } from "../../../api/client"
import { type Quote, quoteQuery } from "../../../api/quotes"
import { ProblemNotice } from "../../../components/ProblemNotice"
import { alongPath, Charges } from "./Charges"
import type { Change, Draft, Request } from "./draft"
import { Errors } from "./Errors"
import type { Lack } from "./query"
import { Refusal } from "./Refusal"
import { amountText, atLimit } from "./ways"

const pauseMs = 350

/** The quote of a request, asked anew once nobody has typed for a moment. */
export function useQuote(request: Request | null) {
  const text = request === null ? "" : JSON.stringify(request)
  const [settled] = useDebouncedValue(text, pauseMs)
  const isAsked = settled !== "" && text !== ""
  const quote = useQuery({
    ...quoteQuery(isAsked ? (JSON.parse(settled) as Request) : { inputs: [] }),
    enabled: isAsked,
    placeholderData: keepPreviousData,
  })
  const isBehind = text !== "" && (text !== settled || quote.isPlaceholderData || quote.isPending)
  return {
    quote: isAsked && !quote.isPlaceholderData ? quote.data : undefined,
    older: quote.data,
    error: isAsked && text === settled ? quote.error : null,
    isBehind,
    retry: quote.refetch,
  }
}

type Props = {
  quoted: ReturnType<typeof useQuote>
  lacks: Lack[]
  draft: Draft
  change: Change
  budgets: readonly Schemas["BudgetRead"][]
  unit: string
  whenTaken: () => void
}

/** What a job would cost and how good it would be, before it is sent. */
export function QuotePanel(props: Props) {
  const { quoted, lacks, draft, change, budgets, unit, whenTaken } = props
  const quote = quoted.quote ?? (lacks.length === 0 ? quoted.older : undefined)
  const leaf = quote?.charges.find(({ budget_id }) => budget_id === draft.budget)
  const budget = budgets.find(({ id }) => id === draft.budget)
  const asked = leaf === undefined ? null : atLimit(leaf.asked, budget)
  const cost = asked === null ? "" : `: ${amountText(asked, "spent", unit)}`
  return (
    <Paper
      component="section"
      withBorder
      p="md"
      aria-labelledby="quote"
      aria-busy={quoted.isBehind}
    >
      <Title order={2} id="quote" mb={4}>
        Quote
      </Title>
      <Text size="sm" c="dimmed" mb="xs">
        It reads no row and spends nothing.
      </Text>
      <Stack gap="md">
        <Text role="status" fw={600} size="sm">
          {headline(quoted, lacks, quote, cost)}
        </Text>
        {quoted.error !== null && !quoted.isBehind && (
          <NotPriced error={quoted.error} retry={quoted.retry} />
        )}
        {quote !== undefined && quoted.error === null && (
          <>
            {!quote.admitted_now && !quoted.isBehind && (
              <Refusal
                refusing={quote.charges
                  .filter(({ fits }) => !fits)
                  .map(({ budget_id, asked, remaining }) => ({
                    budget_id,
                    asked,
                    left: remaining,
                  }))}
                fits={quote.fits}
                solved={quote.noise_multiplier}
                draft={draft}
                change={change}
                budgets={budgets}
                unit={unit}
                whenTaken={whenTaken}
              />
            )}
            <Reused quote={quote} draft={draft} change={change} />
            {quote.noise_multiplier !== undefined && (
              <Solved noise={quote.noise_multiplier} draft={draft} change={change} />
            )}
            <Charges
              charges={alongPath(quote.charges, draft.budget, budgets)}
              budgets={budgets}
              unit={unit}
            />
            <Errors quote={quote} change={change} unit={unit} />
          </>
        )}
      </Stack>
    </Paper>
  )
}

function headline(
  quoted: Props["quoted"],
  lacks: Lack[],
  quote: Quote | undefined,
  cost: string,
): string {
  if (lacks.length > 0) return `A quote needs ${lacks.map(({ text }) => text).join(", ")}.`
  if (quoted.isBehind) return "Working out the price"
  if (quoted.error !== null) return "This has no price."
  if (quote === undefined) return ""
  return quote.admitted_now ? `It fits now${cost}.` : `It does not fit now${cost}.`
}

/** Why the service gives no price; said without alarm, since somebody is still typing. */
function NotPriced({ error, retry }: { error: Error; retry: () => unknown }) {
  if (!(error instanceof ProblemError) || error.status >= 500)
    return <ProblemNotice error={error} retry={retry} />
  const { detail } = error.facts
  return (
    <Alert role="group" color="red" variant="outline" title={error.title}>
      {typeof detail === "string" && <Text size="sm">{detail}</Text>}
    </Alert>
  )
}

function Reused({ quote, draft, change }: { quote: Quote; draft: Draft; change: Change }) {
  if (quote.reused_from === null && !draft.isFresh) return null
  return (
    <Alert role="group" variant="outline" title="An equal query has been released">
      <Stack gap="xs">
        {quote.reused_from !== null && (
          <Text size="sm">
            <Link href={`/jobs/${quote.reused_from}`}>Its result</Link> answers this one at no
            charge. The price below is that of a fresh release.
          </Text>
        )}
        <Checkbox
          label="Draw fresh noise all the same, and be charged"
          checked={draft.isFresh}
          onChange={(event) => change({ isFresh: event.currentTarget.checked })}
        />
      </Stack>
    </Alert>
  )
}

function Solved({ noise, draft, change }: { noise: string; draft: Draft; change: Change }) {
  if (draft.train.noise_by === "multiplier") return null
  return (
    <Group gap="xs">
      <Text size="sm">
        The target takes a noise multiplier of <strong>{noise}</strong>. A budget counts the run by
        its own filter, fixed for its own limit, and may count it higher.
      </Text>
      <Button
        size="compact-sm"
        variant="default"
        onClick={() =>
          change({ train: { ...draft.train, noise_by: "multiplier", multiplier: noise } })
        }
      >
        Keep this noise
      </Button>
    </Group>
  )
}
