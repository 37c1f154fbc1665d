import { Button, Code, Drawer, Group, Stack, Text } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { type KeyboardEvent, memo, type ReactNode } from "react"
import { Link } from "wouter"
import { type Entry, entryQuery } from "../../api/ledger"
import { Amount } from "../../components/Amount"
import { EmptyState } from "../../components/EmptyState"
import { Hash } from "../../components/Hash"
import { LoadingState } from "../../components/LoadingState"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"
import { factsLine } from "../../lib/facts"
import { mechanismLine } from "../../lib/mechanisms"
import { kindWords } from "./filters"
import "./ledger.css"

type Props = {
  budget_id: string
  seq: number | null
  entries: number
  unit: string | null
  onOpen: (seq: number) => void
  onClose: () => void
}

/** One entry: what it says, its place in the chain, and the ones beside it. */
export const EntryPanel = memo(({ budget_id, seq, entries, unit, onOpen, onClose }: Props) => {
  const at = seq ?? 1
  const press = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    if (event.key === "ArrowLeft" && at > 1) onOpen(at - 1)
    if (event.key === "ArrowRight" && at < entries) onOpen(at + 1)
  }
  return (
    <Drawer.Root
      opened={seq !== null}
      onClose={onClose}
      onKeyDown={press}
      position="right"
      size="lg"
      transitionProps={{ duration: 0 }}
    >
      <Drawer.Overlay />
      <Drawer.Content>
        <Drawer.Body p="md">
          <Group justify="space-between" mb="sm">
            <Drawer.Title fw={600}>
              Entry {at} of {entries}
            </Drawer.Title>
            <Drawer.CloseButton ml={0} aria-label="Close the entry" />
          </Group>
          <Group gap="xs" mb="md">
            <Button size="xs" variant="default" disabled={at <= 1} onClick={() => onOpen(at - 1)}>
              ← Previous entry
            </Button>
            <Button
              size="xs"
              variant="default"
              disabled={at >= entries}
              onClick={() => onOpen(at + 1)}
            >
              Next entry →
            </Button>
          </Group>
          {seq !== null && <One key={seq} {...{ budget_id, seq, unit, onOpen }} />}
        </Drawer.Body>
      </Drawer.Content>
    </Drawer.Root>
  )
})

type OneProps = Pick<Props, "budget_id" | "unit" | "onOpen"> & { seq: number }

function One({ budget_id, seq, unit, onOpen }: OneProps) {
  const entry = useQuery(entryQuery(budget_id, seq))
  if (entry.error) return <ProblemNotice error={entry.error} retry={entry.refetch} />
  if (entry.data === undefined) return <LoadingState />
  if (entry.data === null) return <EmptyState title={`This chain has no entry ${seq}.`} />
  return <Said {...{ budget_id, unit, onOpen }} entry={entry.data} />
}

type SaidProps = Omit<OneProps, "seq"> & { entry: Entry }

function Said({ budget_id, entry, unit, onOpen }: SaidProps) {
  const facts: Record<string, unknown> = JSON.parse(entry.body).facts
  const { charge_alone: alone, prev } = entry
  return (
    <Stack gap="sm" component="dl" m={0}>
      <Fact name="Kind">
        {entry.kind.replaceAll("_", " ")}. {kindWords[entry.kind]}
      </Fact>
      <Fact name="When">
        <Time at={entry.at} />
      </Fact>
      <Fact name="By">
        {entry.actor_name ?? entry.actor}{" "}
        <Link href={`/ledger?budget=${budget_id}&actor=${entry.actor}`}>all of theirs</Link>
      </Fact>
      <Fact name="Charge, if it were the only one">
        {alone === null ? (
          "A plan has one figure, of its whole; no part of it has one."
        ) : (
          <Amount amount={alone} sense="spent" unit={unit} />
        )}
      </Fact>
      {entry.parts.length > 0 && (
        <Fact name={entry.parts.length === 1 ? "Mechanism" : "Mechanisms"}>
          {entry.parts.map((part, index) => (
            <div key={index}>
              {part.units === 1 ? "1 unit" : `${part.units} units`} of{" "}
              {mechanismLine(part.mechanism)}
              {typeof part.slot === "string" && `, slot ${part.slot}`}{" "}
              <Text span size="sm" c="dimmed">
                priced as <Hash of={String(part.price)} what="digest of the price" />
              </Text>
            </div>
          ))}
        </Fact>
      )}
      {entry.job !== null && (
        <Fact name="Job">
          <Link href={`/jobs/${entry.job}`}>{entry.job}</Link>
        </Fact>
      )}
      {entry.reservation !== null && (
        <Fact name="Reservation">
          {entry.reservation}{" "}
          <Link href={`/ledger?budget=${budget_id}&search=${entry.reservation}`}>
            its entries here
          </Link>
        </Fact>
      )}
      {Object.keys(facts).length > 0 && <Fact name="Facts">{factsLine(facts)}</Fact>}
      <Fact name="Hash">
        <Hash of={entry.hash} />
      </Fact>
      <Fact name="Hash of the entry before it">
        {entry.seq === 1 ? (
          "none: the chain begins here"
        ) : (
          <Group gap="xs">
            <Hash of={prev} what="hash of the entry before it" />
            <Button size="compact-xs" variant="subtle" onClick={() => onOpen(entry.seq - 1)}>
              entry {entry.seq - 1}
            </Button>
          </Group>
        )}
      </Fact>
      <Fact name="The bytes that were hashed">
        <Code block tabIndex={0} className="bytes">
          {entry.body}
        </Code>
      </Fact>
    </Stack>
  )
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <div>
      <Text component="dt" size="xs" c="dimmed">
        {name}
      </Text>
      <Text component="dd" m={0} className="name">
        {children}
      </Text>
    </div>
  )
}
