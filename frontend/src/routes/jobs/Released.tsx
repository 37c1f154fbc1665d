import { Button, Group, Stack, Text, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { ProblemError, type Schemas } from "../../api/client"
import { artifactPlace, jobResultQuery, resultPlace } from "../../api/jobs"
import { Hash } from "../../components/Hash"
import { LoadingState } from "../../components/LoadingState"
import { ProblemNotice } from "../../components/ProblemNotice"
import { ProfileResult, type ReleasedProfile } from "./ProfileResult"
import { QueryResult } from "./QueryResult"
import type { Table } from "./result"
import { type ReleasedModel, TrainResult } from "./TrainResult"
import type { Job } from "./words"

type Props = { job: Job; unit: string | null }
type Artifact = { name: string; sha256: string; size_bytes: number }

/** What a job released, once its spend is posted. */
export function Released({ job, unit }: Props) {
  // only a training can be stopped with a model to release
  const hasResult = job.state === "settled" || (job.state === "cancelled" && job.started_units > 0)
  const result = useQuery({ ...jobResultQuery(job.id), enabled: hasResult })
  if (!hasResult || isNone(result.error)) return null
  return (
    <section aria-labelledby="result">
      <Title order={2} id="result" mb="xs">
        Result
      </Title>
      {result.error && <ProblemNotice error={result.error} retry={result.refetch} />}
      {result.isPending && <LoadingState />}
      {result.data && (
        <Stack gap="lg">
          <OfKind job={job} result={result.data} unit={unit} />
          <Downloads job={job} artifacts={result.data.artifacts as Artifact[]} />
        </Stack>
      )}
    </section>
  )
}

function OfKind({ job, result, unit }: Props & { result: Schemas["ResultRead"] }) {
  const released: unknown = result
  if (job.kind === "train")
    return <TrainResult job={job} result={released as ReleasedModel} unit={unit} />
  if (job.kind === "profile") return <ProfileResult result={released as ReleasedProfile} />
  return <QueryResult table={released as Table} />
}

const isNone = (error: Error | null): boolean =>
  error instanceof ProblemError && error.type === "result-not-ready"

function Downloads({ job, artifacts }: { job: Job; artifacts: Artifact[] }) {
  return (
    <section aria-label="Downloads">
      <Group gap="xs">
        {job.kind === "query" && (
          <Button
            component="a"
            href={resultPlace(job.id, "csv")}
            download
            size="xs"
            variant="default"
          >
            CSV
          </Button>
        )}
        <Button
          component="a"
          href={resultPlace(job.id, "json")}
          download={`result-${job.id}.json`}
          size="xs"
          variant="default"
        >
          JSON
        </Button>
        {artifacts.map((each) => (
          <Group key={each.name} gap={6} wrap="nowrap">
            <Button
              component="a"
              href={artifactPlace(job.id, each.name)}
              download
              size="xs"
              variant="default"
            >
              {each.name}
            </Button>
            <Text size="sm" c="dimmed">
              {sizeText(each.size_bytes)}
            </Text>
            <Hash of={each.sha256} what={`SHA-256 of ${each.name}`} />
          </Group>
        ))}
      </Group>
    </section>
  )
}

function sizeText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  if (bytes < 1_000_000) return `${(bytes / 1000).toFixed(1)} kB`
  return `${(bytes / 1_000_000).toFixed(1)} MB`
}
