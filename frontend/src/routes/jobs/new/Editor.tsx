import { Alert, Box, Button, Grid, Stack, Tabs } from "@mantine/core"
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query"
import { type ReactNode, useMemo, useRef } from "react"
import { useLocation } from "wouter"
import { budgetKeys, budgetsQuery } from "../../../api/budgets"
import { ProblemError, type Schemas } from "../../../api/client"
import { datasetQuery } from "../../../api/datasets"
import { jobKeys } from "../../../api/jobs"
import { quoteKeys, submitJob } from "../../../api/quotes"
import { EmptyState } from "../../../components/EmptyState"
import { Faults, faultsOf } from "../../../components/fields"
import { ProblemNotice } from "../../../components/ProblemNotice"
import { Charged } from "./Charged"
import { factsOf, unitWord } from "./columns"
import { type Draft, type Kind, requestOf } from "./draft"
import { QueryFields } from "./QueryFields"
import { PrivacyFields, QueryText } from "./QueryText"
import { QuotePanel, useQuote } from "./QuotePanel"
import type { Lack } from "./query"
import { Refused } from "./Refusal"
import { Send } from "./Send"
import { TrainFields } from "./TrainFields"
import type { Model } from "./train"
import { useDraft } from "./useDraft"

type Props = { owner: string; start: Draft; models: Schemas["ModelRead"][]; known: Model[] }

/** A job as it is put together: what it asks, what it would cost, and the sending of it. */
export function Editor({ owner, start, models, known }: Props) {
  const { draft, change, isKept, restart, forget } = useDraft(owner, start)
  const dataset = useQuery({ ...datasetQuery(draft.dataset), enabled: draft.dataset !== "" })
  const budgets = useQuery({
    ...budgetsQuery({ dataset_id: draft.dataset, limit: 200 }),
    enabled: draft.dataset !== "",
  })
  const facts = useMemo(() => dataset.data && factsOf(dataset.data), [dataset.data])
  const model = known.find(({ name }) => name === draft.train.model)
  const { request, lacks } = requestOf(draft, facts, model)
  const quoted = useQuote(request)
  const sending = useSending(forget)
  const sender = useRef<HTMLButtonElement>(null)
  const body = request === null ? null : { ...request, purpose: draft.purpose.trim() }
  const missing: Lack[] =
    draft.purpose.trim() === "" ? [...lacks, { at: "/purpose", text: "a purpose" }] : lacks
  const refused = sending.isFor(body) ? sending.error : null
  const unit = facts === undefined ? "record" : unitWord(facts)
  const whenTaken = () => sender.current?.focus()
  const shared = { draft, change, budgets: budgets.data?.items ?? [], unit, whenTaken }
  const panel = <QuotePanel quoted={quoted} lacks={lacks} {...shared} />
  return (
    <Faults.Provider value={[...faultsOf(refused), ...faultsOf(quoted.error)]}>
      {isKept && (
        <Alert variant="outline" role="status" mb="sm" title="What you typed before is still here.">
          <Button size="xs" variant="default" onClick={restart}>
            Start anew
          </Button>
        </Alert>
      )}
      <Charged draft={draft} change={change} />
      {dataset.error && <ProblemNotice error={dataset.error} retry={dataset.refetch} />}
      <Tabs
        value={draft.kind}
        onChange={(kind) => kind && change({ kind: kind as Kind })}
        keepMounted={false}
        mt="sm"
      >
        <Tabs.List aria-label="Kind of job" mb="md">
          <Tabs.Tab value="query">Query</Tabs.Tab>
          <Tabs.Tab value="train">Training run</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="query">
          {facts === undefined ? (
            <NoDataset />
          ) : (
            <Beside
              left={
                <Stack gap="lg">
                  <QueryFields draft={draft} change={change} facts={facts} />
                  <PrivacyFields draft={draft} change={change} facts={facts} />
                </Stack>
              }
              right={
                <Stack gap="lg">
                  <QueryText draft={draft} change={change} facts={facts} />
                  {panel}
                </Stack>
              }
            />
          )}
        </Tabs.Panel>
        <Tabs.Panel value="train">
          {facts === undefined ? (
            <NoDataset />
          ) : (
            <Beside
              left={
                <TrainFields
                  form={draft.train}
                  set={(patch) => change({ train: { ...draft.train, ...patch } })}
                  facts={facts}
                  models={models}
                  model={model}
                />
              }
              right={
                <Box pos={{ base: "static", md: "sticky" }} top={70}>
                  {panel}
                </Box>
              }
            />
          )}
        </Tabs.Panel>
      </Tabs>
      {refused !== null && (
        <Refused error={refused} solved={quoted.quote?.noise_multiplier} {...shared} />
      )}
      <Send
        draft={draft}
        setPurpose={(purpose) => change({ purpose })}
        missing={missing}
        isPending={sending.isPending}
        button={sender}
        send={() => body !== null && sending.send(body)}
      />
    </Faults.Provider>
  )
}

function NoDataset() {
  return (
    <EmptyState title="Choose a dataset first.">
      Its public schema says what can be asked of it.
    </EmptyState>
  )
}

function Beside({ left, right }: { left: ReactNode; right: ReactNode }) {
  return (
    <Grid gap="xl">
      <Grid.Col span={{ base: 12, md: 6 }}>{left}</Grid.Col>
      <Grid.Col span={{ base: 12, md: 6 }}>{right}</Grid.Col>
    </Grid>
  )
}

/**
 * Sends a job once: what was lost on its way is sent again under the same key, so that it is
 * charged once; what was refused gets a new one, since a refusal stands for its key.
 */
function useSending(whenSent: () => void) {
  const client = useQueryClient()
  const [, go] = useLocation()
  const last = useRef<{ text: string; key: string } | null>(null)
  const sending = useMutation({
    mutationFn: submitJob,
    onSuccess: async ({ id }) => {
      whenSent()
      await Promise.all(
        [quoteKeys.all, budgetKeys.all, jobKeys.all].map((queryKey) =>
          client.invalidateQueries({ queryKey, refetchType: "none" }),
        ),
      )
      go(`/jobs/${id}`)
    },
    onError: (error) => {
      if (error instanceof ProblemError && error.status < 500) {
        if (last.current !== null) last.current.key = crypto.randomUUID()
        client.invalidateQueries({ queryKey: quoteKeys.all })
        client.invalidateQueries({ queryKey: budgetKeys.all })
      }
    },
  })
  const send = (body: Schemas["JobSubmit"]) => {
    const text = JSON.stringify(body)
    if (last.current?.text !== text) last.current = { text, key: crypto.randomUUID() }
    sending.mutate({ body, key: last.current.key })
  }
  const isFor = (body: Schemas["JobSubmit"] | null) =>
    JSON.stringify(sending.variables?.body) === JSON.stringify(body)
  return { send, isFor, error: sending.error, isPending: sending.isPending }
}
