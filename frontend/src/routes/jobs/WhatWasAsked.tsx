import { Code, Stack, Text, Title } from "@mantine/core"
import { Link } from "wouter"
import type { Schemas } from "../../api/client"
import type { Spec } from "./again"
import { privacyFacts, profileFacts, trainingFacts } from "./asked"
import { FactTable, type Line } from "./FactTable"
import { keysTexts, type Query, queryText } from "./readable"
import type { Job } from "./words"

type Dataset = Schemas["DatasetRead"]
type Props = { job: Job; datasets: Dataset[]; unit: string | null }

/** What was asked, as one would ask it, and the whole of it as it is stored. */
export function WhatWasAsked({ job, datasets, unit }: Props) {
  return (
    <section aria-labelledby="asked">
      <Title order={2} id="asked" mb="xs">
        What was asked
      </Title>
      <Stack gap="sm">
        {job.kind === "query" && <Sql job={job} datasets={datasets} />}
        <FactTable caption="Line by line" lines={linesOf(job, datasets, unit)} />
        <details>
          <Text component="summary" size="sm" fw={600} style={{ cursor: "pointer" }}>
            All of it, as it is stored
          </Text>
          <Code block mt={4} className="scrolls" tabIndex={0}>
            {JSON.stringify(job.spec, null, 2)}
          </Code>
        </details>
      </Stack>
    </section>
  )
}

function Sql({ job, datasets }: { job: Job; datasets: Dataset[] }) {
  const [dataset] = datasets
  const query = job.spec as unknown as Query
  const column = dataset?.unit_of_privacy?.column
  const numbers = new Set(
    (dataset?.columns ?? [])
      .filter((each) => ["int64", "float64", "float32"].includes(String(each.type)))
      .map((each) => String(each.name)),
  )
  const names = {
    dataset: dataset?.name ?? "the dataset",
    unit: typeof column === "string" ? column : null,
    numbers,
  }
  return (
    <>
      <Code block className="scrolls" tabIndex={0}>
        {queryText(query, names)}
      </Code>
      {keysTexts(query).map((text) => (
        <Text key={text} size="sm">
          {text}
        </Text>
      ))}
    </>
  )
}

function linesOf(job: Job, datasets: Dataset[], unit: string | null): Line[] {
  const inputs: Line[] = job.inputs.map((input) => ({
    name: "Dataset",
    value: (
      <>
        <Link href={`/datasets/${input.dataset_id}`}>
          {datasets.find((each) => each.id === input.dataset_id)?.name ?? "dataset"}
        </Link>
        , version {String(input.version)}
        {input.blocks !== "all" && `, blocks ${blocksText(input.blocks)}`}
      </>
    ),
  }))
  if (job.kind === "train") {
    const evaluation = job.spec.evaluation as Spec | undefined
    const measured: Line[] = evaluation
      ? [
          {
            name: "Accuracy is taken",
            value: (
              <>
                every {String(evaluation.every_steps)} steps, on{" "}
                <Link href={`/datasets/${evaluation.dataset_id}`}>a public dataset</Link>
              </>
            ),
          },
        ]
      : []
    return [...inputs, ...trainingFacts(job.spec), ...measured]
  }
  const privacy = privacyFacts(job.spec, unit)
  return [...inputs, ...(job.kind === "profile" ? profileFacts(job.spec) : []), ...privacy]
}

const blocksText = (blocks: unknown): string =>
  Array.isArray(blocks)
    ? blocks.map(([first, last]) => (first === last ? first : `${first} to ${last}`)).join(", ")
    : String(blocks)
