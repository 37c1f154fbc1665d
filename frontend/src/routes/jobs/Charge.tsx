import { Text } from "@mantine/core"
import { Link } from "wouter"
import type { Schemas } from "../../api/client"
import { Amount } from "../../components/Amount"
import { entryPlace } from "../../components/places"
import { entryName, unitsText } from "./words"

type Entry = Schemas["JobEntryRead"]
type Unit = string | null
type Props = { charge: Entry | null; kind: string; unit: Unit }

/** What an entry's charge comes to by itself, at the delta that this epsilon is proven for. */
export function EntryAmount({ entry, kind, unit }: { entry: Entry; kind: string; unit: Unit }) {
  if (entry.alone === null || entry.at_delta === null)
    return <>{unitsText(kind, entry.units)} of a plan</>
  const amount = { epsilon: entry.alone.epsilon, delta: entry.at_delta }
  return <Amount amount={amount} sense="spent" unit={unit} />
}

/** What a job came to in one scope, and the way to the entry that says so. */
export function Charge({ charge, kind, unit }: Props) {
  if (charge === null)
    return (
      <Text span size="sm" c="dimmed">
        not shown
      </Text>
    )
  return (
    <Link href={entryPlace(charge.budget_id, charge.seq)} className="text-link">
      {charge.kind === "voided" ? (
        "nothing: given back"
      ) : (
        <>
          <EntryAmount entry={charge} kind={kind} unit={unit} /> {entryName(charge.kind)}
        </>
      )}
    </Link>
  )
}
