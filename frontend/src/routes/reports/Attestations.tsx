import { Badge, Button, Group, Paper, Stack, Text, Title } from "@mantine/core"
import { useInfiniteQuery, useQuery } from "@tanstack/react-query"
import { useState } from "react"
import type { Schemas } from "../../api/client"
import { datasetsQuery } from "../../api/datasets"
import { useChange } from "../../api/pages"
import { attestationPages, reportKeys, revokeAttestation } from "../../api/reports"
import { hasRole, meQuery } from "../../api/session"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { MoreButton } from "../../components/MoreButton"
import { PageHeader } from "../../components/PageHeader"
import { ProblemNotice } from "../../components/ProblemNotice"
import { SubNavigation } from "../../components/SubNavigation"
import { Time } from "../../components/Time"
import { factsLine } from "../../lib/facts"
import { AttestationMake } from "./AttestationMake"
import { attestationKinds } from "./kinds"
import { reportPlaces } from "./places"

type Attestation = Schemas["AttestationRead"]

const colors = { "in force": "green", expired: "gray", revoked: "gray" }

export default function Attestations() {
  const me = useQuery(meQuery())
  const datasets = useQuery(datasetsQuery({ limit: 200 }))
  const attestations = useInfiniteQuery(attestationPages())
  const [isMaking, setIsMaking] = useState(false)
  const mayAttest = me.data !== undefined && hasRole(me.data, "compliance_officer", "admin")
  const nameOf = (id: string) => datasets.data?.items.find((each) => each.id === id)?.name ?? id
  return (
    <>
      <PageHeader
        title="Attestations"
        about="What named people stand for until a day. The service signs it and checks none of it."
      >
        {mayAttest && (
          <Button size="xs" onClick={() => setIsMaking(true)}>
            Attest
          </Button>
        )}
      </PageHeader>
      <SubNavigation label="Reports" places={reportPlaces} />
      {attestations.error && (
        <ProblemNotice error={attestations.error} retry={attestations.refetch} />
      )}
      {attestations.isPending && <LoadingState />}
      {attestations.data?.length === 0 && (
        <EmptyState title="Nobody has attested anything yet.">
          Criteria that no record can show stay not evaluated until somebody stands for them.
        </EmptyState>
      )}
      <Stack gap="sm">
        {attestations.data?.map((each) => (
          <One
            key={each.id}
            attestation={each}
            dataset={nameOf(each.dataset_id)}
            mayRevoke={mayAttest}
          />
        ))}
      </Stack>
      <MoreButton pages={attestations} />
      {isMaking && (
        <AttestationMake
          datasets={datasets.data?.items ?? []}
          whenClosed={() => setIsMaking(false)}
        />
      )}
    </>
  )
}

type OneProps = { attestation: Attestation; dataset: string; mayRevoke: boolean }

function One({ attestation, dataset, mayRevoke }: OneProps) {
  const revoking = useChange(revokeAttestation, reportKeys.all)
  const { name } = attestationKinds[attestation.kind]
  const facts = factsLine(attestation.facts)
  return (
    <Paper withBorder p="md" component="section" aria-label={`${name} about ${dataset}`}>
      <Group justify="space-between" align="flex-start">
        <Title order={2} fz="md" className="name" style={{ minWidth: 0, flex: "1 1 14rem" }}>
          {name}: {dataset}
        </Title>
        <Group gap="xs">
          <Badge color={colors[attestation.standing]}>{attestation.standing}</Badge>
          {mayRevoke && attestation.standing === "in force" && (
            <Button
              size="compact-xs"
              variant="default"
              loading={revoking.isPending}
              onClick={() => revoking.mutate(attestation.id)}
            >
              Take back
            </Button>
          )}
        </Group>
      </Group>
      {revoking.error && <ProblemNotice error={revoking.error} />}
      <Text className="name" my={4}>
        {attestation.statement}
      </Text>
      {facts && (
        <Text size="sm" className="name">
          {facts}
        </Text>
      )}
      <Text size="sm" c="dimmed">
        {attestation.person_name}, <Time at={attestation.made_at} />, until{" "}
        <Time at={attestation.expires_at} />
        {attestation.revoked_at && (
          <>
            , taken back <Time at={attestation.revoked_at} />
          </>
        )}
      </Text>
    </Paper>
  )
}
