import { Button, List, Stack, Text, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { useState } from "react"
import type { Schemas } from "../../api/client"
import { useChange } from "../../api/pages"
import { deactivatePerson, personKeys, workQuery } from "../../api/people"
import { LoadingState } from "../../components/LoadingState"
import { ProblemNotice } from "../../components/ProblemNotice"

type Person = Schemas["PersonRead"]

/** What somebody's work is at, and the end of all that he may do. */
export function Leaving({ person }: { person: Person }) {
  const [isSure, setIsSure] = useState(false)
  const work = useQuery(workQuery(person.id))
  const leaving = useChange(deactivatePerson, personKeys.all)
  return (
    <Stack gap="xs" align="flex-start">
      <Title order={3}>{person.active ? "Leaving" : "Handed over"}</Title>
      {work.error && <ProblemNotice error={work.error} retry={work.refetch} />}
      {work.isPending && <LoadingState lines={2} />}
      {work.data && <Work work={work.data} person={person} />}
      {leaving.error && <ProblemNotice error={leaving.error} />}
      {leaving.data && <Ended left={leaving.data} />}
      {person.active && !isSure && (
        <Button size="xs" color="red" variant="outline" onClick={() => setIsSure(true)}>
          {person.name} leaves
        </Button>
      )}
      {person.active && isSure && (
        <>
          <Text size="sm">
            Every key, session and open approval of {person.name} ends at once. What runs is settled
            by itself; what was spent stays spent.
          </Text>
          <Button
            size="xs"
            color="red"
            loading={leaving.isPending}
            onClick={() => leaving.mutate(person.id)}
          >
            End all of it now
          </Button>
        </>
      )}
    </Stack>
  )
}

function Work({ work, person }: { work: Schemas["WorkRead"]; person: Person }) {
  const lines = [
    ...work.jobs.map((job) => ({
      id: job.id,
      text: `${job.kind} job, ${job.state}: ${job.purpose || "no purpose said"}`,
    })),
    ...work.reservations.map((held) => ({
      id: held.id,
      text: `room held for ${held.tool ?? "a program"}, ${held.state}`,
    })),
  ]
  if (lines.length === 0)
    return (
      <Text size="sm" c="dimmed">
        {person.active ? "No work is open." : "No work was open."}
      </Text>
    )
  return (
    <>
      <Text size="sm">Work to be handed over{work.is_whole ? "" : " (the first of it)"}:</Text>
      <List size="sm">
        {lines.map(({ id, text }) => (
          <List.Item key={id} className="name">
            {text}
          </List.Item>
        ))}
      </List>
    </>
  )
}

const counted = (count: number, one: string) => `${count} ${one}${count === 1 ? "" : "s"}`

function Ended({ left }: { left: Schemas["PersonDeactivated"] }) {
  return (
    <Text size="sm" role="status">
      Ended: {counted(left.revoked_key_ids.length, "key")},{" "}
      {counted(left.ended_session_ids.length, "session")},{" "}
      {counted(left.expired_approval_ids.length, "open approval")}.
    </Text>
  )
}
