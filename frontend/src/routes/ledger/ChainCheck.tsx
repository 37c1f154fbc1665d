import { Button, FileInput, Group, NumberInput, Progress, Stack, Text, Title } from "@mantine/core"
import { useMutation, useQueryClient } from "@tanstack/react-query"
import { type FormEvent, memo, useEffect, useRef, useState } from "react"
import { Link } from "wouter"
import { budgetQuery } from "../../api/budgets"
import { Checks } from "../../components/Checks"
import { ProblemNotice } from "../../components/ProblemNotice"
import { type Against, checkCheckpoint, findings, type Walk } from "../../lib/chain"
import type { Check } from "../../lib/integrity"
import { readAgainst, walkChain } from "./walk"

/** first, last: what is checked unless somebody says otherwise. */
type Props = { budget_id: string; first: number; last: number; isEverything: boolean }
type Found = { checks: Check[]; walk: Walk; checkpoint: Against["checkpoint"] }

/** The chain recomputed by this browser, with what it did not check beside what it did. */
export const ChainCheck = memo(({ budget_id, first, last, isEverything }: Props) => {
  const client = useQueryClient()
  const [from, setFrom] = useState<number | string>(first)
  const [to, setTo] = useState<number | string>(last)
  const [done, setDone] = useState(0)
  const stop = useRef(new AbortController())
  const signature = useMutation({
    mutationFn: async (given: { file: File; checkpoint: Against["checkpoint"] }) =>
      typeof given.checkpoint === "string"
        ? null
        : checkCheckpoint(given.checkpoint, await given.file.text()),
  })
  const checking = useMutation({
    mutationFn: async ([start, end]: [number, number]): Promise<Found> => {
      stop.current = new AbortController()
      const { signal } = stop.current
      setDone(0)
      signature.reset()
      const [budget, checkpoint] = await Promise.all([
        client.fetchQuery({ ...budgetQuery(budget_id), staleTime: 0 }),
        readAgainst(signal),
      ])
      const step = (walk: Walk) => setDone(Math.max(0, walk.next - start))
      const walk = await walkChain(budget_id, start, end, checkpoint, step, signal)
      const head = { seq: budget.entries, hash: budget.head_hash }
      return { checks: await findings(walk, start, end, { head, checkpoint }), walk, checkpoint }
    },
  })
  useEffect(() => {
    setFrom(first)
    setTo(last)
  }, [first, last])
  useEffect(() => () => stop.current.abort(), [])
  const count = Number(to) - Number(from) + 1
  const submit = (event: FormEvent) => {
    event.preventDefault()
    checking.mutate([Number(from), Number(to)])
  }
  const found = checking.data
  const isStopped = checking.error?.name === "AbortError"
  const entry = (label: string, value: number | string, set: typeof setFrom) => (
    <NumberInput
      label={label}
      value={value}
      onChange={set}
      min={1}
      allowDecimal={false}
      disabled={checking.isPending}
      w={130}
    />
  )
  return (
    <section aria-labelledby="chain-check">
      <Title order={2} id="chain-check" mb={4}>
        Check the chain in this browser
      </Title>
      <Text size="sm" c="dimmed" mb="sm" maw={760}>
        It reads the entries anew, computes the hash of each from its bytes, and compares links and
        ends with what is shown and signed.
        {!isEverything && " Between the entries that a filter shows, all others are checked too."}
      </Text>
      <form onSubmit={submit}>
        <Group align="flex-end" gap="xs" mb="sm">
          {entry("From entry", from, setFrom)}
          {entry("to", to, setTo)}
          <Button
            type="submit"
            loading={checking.isPending}
            disabled={!(Number(from) >= 1 && count >= 1)}
          >
            Check
          </Button>
          {checking.isPending && (
            <Button variant="default" onClick={() => stop.current.abort()}>
              Stop
            </Button>
          )}
        </Group>
      </form>
      <Stack gap="sm" maw={760}>
        {checking.isPending && (
          <Progress
            value={(100 * done) / count}
            aria-label={`${done} of ${count} entries checked`}
          />
        )}
        {isStopped && <Text role="status">Stopped after {done} entries; nothing was found.</Text>}
        {checking.error && !isStopped && <ProblemNotice error={checking.error} />}
        {found && !checking.isPending && (
          <>
            <Checks
              label="Checked in this browser"
              of={[...found.checks, ...(signature.data ? [signature.data] : [])]}
            />
            {found.walk.fault && (
              <Link href={`/ledger?budget=${budget_id}&seq=${found.walk.fault.seq}`}>
                Open entry {found.walk.fault.seq}
              </Link>
            )}
            {typeof found.checkpoint !== "string" && (
              <FileInput
                label="Check the signature"
                description="With the public key of the house, which you got from somebody you trust"
                placeholder="Choose signing.key.pub"
                maw={420}
                clearable
                clearButtonProps={{ "aria-label": "Choose no key" }}
                onChange={(file) =>
                  file
                    ? signature.mutate({ file, checkpoint: found.checkpoint })
                    : signature.reset()
                }
              />
            )}
            <Text size="sm" c="dimmed">
              Not checked here: that each charge is the price of its mechanism, that balances are
              the sums of their entries and stayed within their limits, and every other budget.{" "}
              <a href="/v1/ledger/export" download="ledger.jsonl">
                The ledger's bundle
              </a>{" "}
              and <code>epsilon-ledger verify</code> do that. What neither checks: that every job
              which read the data asked the ledger first.
            </Text>
          </>
        )}
      </Stack>
    </section>
  )
})
