import { Button, Group, Progress, Stack, Text, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { Link, useParams } from "wouter"
import type { Schemas } from "../../api/client"
import { datasetQuery } from "../../api/datasets"
import { documentPlace, documentQuery, type ReportForm, reportQuery } from "../../api/reports"
import { Hash } from "../../components/Hash"
import { LoadingState } from "../../components/LoadingState"
import { PageHeader } from "../../components/PageHeader"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"
import type { Finding } from "../../lib/criteria"
import { Criteria } from "./Criteria"
import { progressLine, progressPart } from "./progress"
import { Verification } from "./Verification"
import { WholeReport } from "./WholeReport"

const lookAgainMs = 1000
const forms: [ReportForm, string][] = [
  ["json", "JSON (signed)"],
  ["html", "HTML"],
  ["pdf", "PDF"],
]

export default function ReportOne() {
  const { id } = useParams<{ id: string }>()
  const report = useQuery({
    ...reportQuery(id),
    refetchInterval: ({ state }) =>
      state.data?.state === "queued" || state.data?.state === "running" ? lookAgainMs : false,
  })
  const dataset = useQuery({
    ...datasetQuery(report.data?.dataset_id ?? ""),
    enabled: report.data !== undefined,
  })
  const name = dataset.data?.name ?? "a dataset"
  return (
    <>
      <PageHeader
        title={`Report of ${name}`}
        about={
          report.data && (
            <>
              Checkpoint {report.data.checkpoint_seq}, asked for{" "}
              <Time at={report.data.requested_at} />. <Link href="/reports">All reports</Link>
            </>
          )
        }
      >
        {report.data?.state === "ready" &&
          forms.map(([form, label]) => (
            <Button
              key={form}
              component="a"
              href={documentPlace(id, form)}
              download
              size="xs"
              variant={form === "json" ? "filled" : "default"}
            >
              {label}
            </Button>
          ))}
      </PageHeader>
      {report.error && <ProblemNotice error={report.error} retry={report.refetch} />}
      {report.isPending && <LoadingState />}
      {report.data && report.data.state !== "ready" && <Underway report={report.data} />}
      {report.data?.state === "ready" && <Ready report={report.data} />}
    </>
  )
}

function Underway({ report }: { report: Schemas["ReportRead"] }) {
  return (
    <Stack gap="xs" maw={560}>
      <Text role="status">{progressLine(report)}</Text>
      {report.state !== "failed" && (
        <Progress
          value={progressPart(report) ?? 100}
          animated
          striped
          aria-label="How far the report is"
        />
      )}
    </Stack>
  )
}

function Ready({ report }: { report: Schemas["ReportRead"] }) {
  const text = useQuery(documentQuery(report.id, "json"))
  if (text.error) return <ProblemNotice error={text.error} retry={text.refetch} />
  if (text.data === undefined) return <LoadingState />
  const findings: Finding[] = JSON.parse(text.data).criteria
  return (
    <Stack gap="xl">
      <section aria-labelledby="criteria">
        <Title order={2} id="criteria" mb={4}>
          Criteria
        </Title>
        <Text size="sm" c="dimmed" mb="sm">
          By what the record shows of each. There is no total: one gap is not made up for by many
          others that hold.
        </Text>
        <Criteria findings={findings} />
      </section>
      <section aria-labelledby="verification">
        <Title order={2} id="verification" mb={4}>
          Verification
        </Title>
        <Group gap="xs" mb="sm">
          <Text size="sm" c="dimmed">
            SHA-256 of the JSON
          </Text>
          {report.sha256 && <Hash of={report.sha256} />}
        </Group>
        <Verification report={report} text={text.data} />
      </section>
      <WholeReport reportId={report.id} />
    </Stack>
  )
}
