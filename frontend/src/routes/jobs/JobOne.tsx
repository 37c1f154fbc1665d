import { Anchor, Button, Grid, Stack } from "@mantine/core"
import { useQueries, useQuery } from "@tanstack/react-query"
import { Link, useParams } from "wouter"
import type { Schemas } from "../../api/client"
import { datasetQuery } from "../../api/datasets"
import { jobQuery } from "../../api/jobs"
import { hasRole, meQuery } from "../../api/session"
import { LoadingState } from "../../components/LoadingState"
import { PageHeader } from "../../components/PageHeader"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"
import { againPlace } from "./again"
import { Cancel } from "./Cancel"
import { Charges } from "./Charges"
import { Ending } from "./Ending"
import { useFollowing } from "./following"
import { IfAskedNow } from "./IfAskedNow"
import { JobBadge } from "./JobBadge"
import { Life } from "./Life"
import { LiveProgress } from "./LiveProgress"
import type { Line } from "./progress"
import { Released } from "./Released"
import { WhatWasAsked } from "./WhatWasAsked"
import { isUnderway, type Job, kindName, unitOf } from "./words"

const lookAgainMs = 3000

export default function JobOne() {
  const { id = "" } = useParams()
  const me = useQuery(meQuery())
  const read = useQuery({
    ...jobQuery(id),
    // beside the stream, so that a cut one is no standstill
    refetchInterval: ({ state }) => (state.data && isUnderway(state.data) ? lookAgainMs : false),
  })
  const following = useFollowing(read.data)
  const datasets = useDatasets(read.data)
  if (read.error && !read.data)
    return (
      <>
        <PageHeader title="Job" />
        <ProblemNotice error={read.error} retry={read.refetch} />
      </>
    )
  if (!read.data || !me.data) return <LoadingState />
  const job = read.data
  const unit = unitOf(datasets)
  const isMine = job.requested_by === me.data.id && hasRole(me.data, "ml_engineer")
  const hasEnded = !isUnderway(job)
  return (
    <>
      <Anchor component={Link} href="/jobs" size="sm">
        All jobs
      </Anchor>
      <PageHeader
        title={job.purpose}
        about={
          <>
            {kindName(job.kind)}, asked for by{" "}
            <strong className="name">{job.requested_by_name}</strong> <Time at={job.created_at} />
          </>
        }
      >
        <JobBadge job={job} />
        {isMine && !hasEnded && <Cancel job={job} />}
        {isMine && hasEnded && (
          <Button component={Link} href={againPlace(job.id)} size="xs" variant="default">
            Ask again
          </Button>
        )}
      </PageHeader>
      <Grid gap="xl">
        <Grid.Col span={{ base: 12, lg: 8 }}>
          <Stack gap="xl">
            {!hasEnded && <LiveProgress job={job} following={following} unit={unit} />}
            {(job.state === "failed" || job.state === "cancelled") && <Ending job={job} />}
            {isMine && (job.state === "failed" || job.state === "cancelled") && (
              <IfAskedNow job={job} unit={unit} />
            )}
            {hasEnded && <Released job={job} unit={unit} />}
            <WhatWasAsked job={job} datasets={datasets} unit={unit} />
          </Stack>
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 4 }}>
          <Life job={{ ...job, started_units: startedBy(job, following.lines) }} />
        </Grid.Col>
        <Grid.Col span={12}>
          <Charges job={job} unit={unit} />
        </Grid.Col>
      </Grid>
    </>
  )
}

/** How many units have started: by the job as it was read, or by the news since. */
const startedBy = (job: Job, lines: Line[]): number =>
  Math.max(job.started_units, lines.at(-1)?.step ?? 0)

/** What the job reads, as far as it is known yet; withdrawn ones stay unknown. */
function useDatasets(job: Job | undefined): Schemas["DatasetRead"][] {
  const ids = (job?.inputs ?? []).map((input) => String(input.dataset_id))
  const found = useQueries({ queries: ids.map((id) => datasetQuery(id)) })
  return found.flatMap((each) => each.data ?? [])
}
