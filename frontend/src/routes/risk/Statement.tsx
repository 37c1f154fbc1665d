import { SegmentedControl, Stack, Text, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { useState } from "react"
import { type Audience, statementQuery } from "../../api/risk"
import { hasRole, meQuery } from "../../api/session"
import { LoadingState } from "../../components/LoadingState"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Details, type DetailsProps } from "./Details"

const audiences: { value: Audience; label: string }[] = [
  { value: "subject", label: "Person in the data" },
  { value: "officer", label: "Officer" },
  { value: "auditor", label: "Auditor" },
]

/** The same budget in the words of three readers. */
export function Statement({ budget_id }: { budget_id: string }) {
  const me = useQuery(meQuery())
  const own = me.data && !hasRole(me.data, "compliance_officer") ? "auditor" : "officer"
  const [chosen, setChosen] = useState<Audience | null>(null)
  const audience = chosen ?? own
  const said = useQuery(statementQuery(budget_id, audience))
  const more: DetailsProps[] = [
    { title: "What it rests on", lines: said.data?.assumptions ?? [] },
    { title: "What it does not say", lines: said.data?.limits ?? [] },
  ]
  return (
    <section aria-labelledby="statement">
      <Title order={2} id="statement" mb="xs">
        Statement
      </Title>
      <SegmentedControl
        aria-label="Written for"
        data={audiences}
        value={audience}
        onChange={(value) => setChosen(value as Audience)}
        size="sm"
        mb="sm"
        maw="100%"
      />
      {said.error && <ProblemNotice error={said.error} retry={said.refetch} />}
      {said.isPending && <LoadingState lines={6} />}
      {said.data && (
        <Stack gap="xs" maw="44rem">
          {said.data.text.map((paragraph) => (
            <Text key={paragraph} className="name">
              {paragraph}
            </Text>
          ))}
          {more.map((each) => (
            <Details key={each.title} {...each} />
          ))}
          <Text size="sm" c="dimmed">
            {said.data.footer}
          </Text>
        </Stack>
      )}
    </section>
  )
}
