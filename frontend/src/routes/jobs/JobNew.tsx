import { useQuery } from "@tanstack/react-query"
import { useState } from "react"
import { useSearchParams } from "wouter"
import type { Schemas } from "../../api/client"
import { datasetQuery } from "../../api/datasets"
import { jobQuery, modelsQuery } from "../../api/jobs"
import { hasRole, meQuery } from "../../api/session"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { PageHeader } from "../../components/PageHeader"
import { ProblemNotice } from "../../components/ProblemNotice"
import { againOf, changed } from "./again"
import { type Draft, draftOf, newDraft } from "./new/draft"
import { Editor } from "./new/Editor"
import { fieldsOf } from "./new/schema"
import type { Model } from "./new/train"

/** A new job. The address may say what it is like (see `again.ts`), or its `dataset` and `kind`. */
export default function JobNew() {
  const me = useQuery(meQuery())
  const [search] = useSearchParams()
  return (
    <>
      <PageHeader title="New job" about="What it would cost is shown before it is sent." />
      {me.data && !hasRole(me.data, "ml_engineer") && (
        <EmptyState title="Engineers send jobs.">
          Your role reads them and does not send any.
        </EmptyState>
      )}
      {me.data && hasRole(me.data, "ml_engineer") && (
        <Begun key={search.toString()} owner={me.data.id} search={search} />
      )}
    </>
  )
}

type Props = { owner: string; search: URLSearchParams }

function Begun({ owner, search }: Props) {
  const again = againOf(search)
  const job = useQuery({ ...jobQuery(again?.like ?? ""), enabled: again !== null })
  const input = job.data?.inputs[0] as { dataset_id: string } | undefined
  const dataset = useQuery({
    ...datasetQuery(input?.dataset_id ?? ""),
    enabled: input !== undefined,
  })
  const models = useQuery(modelsQuery())
  const error = job.error ?? dataset.error ?? models.error
  const asked = job.data && dataset.data ? { job: job.data, dataset: dataset.data } : null
  if (error)
    return (
      <ProblemNotice
        error={error}
        retry={() =>
          [job, dataset, models].filter((each) => each.error).map((each) => each.refetch())
        }
      />
    )
  if (models.data === undefined || (again !== null && asked === null)) return <LoadingState />
  return <Ready owner={owner} search={search} models={models.data.items} asked={asked} />
}

type Asked = { job: Schemas["JobRead"]; dataset: Schemas["DatasetRead"] }

function Ready(props: Props & { models: Schemas["ModelRead"][]; asked: Asked | null }) {
  const { owner, search, models, asked } = props
  const [known] = useState(() =>
    // the label has as many classes as it has
    models.map(
      ({ name, reads, options }): Model => ({
        name,
        reads,
        fields: fieldsOf(options).filter(({ path }) => path !== "classes"),
      }),
    ),
  )
  const [start] = useState(() => startOf(search, asked, known))
  return <Editor owner={owner} start={start} models={models} known={known} />
}

function startOf(search: URLSearchParams, asked: Asked | null, known: Model[]): Draft {
  const again = againOf(search)
  if (asked !== null && again !== null) {
    const spec = changed(asked.job.spec, again.change)
    return draftOf({ ...asked.job, spec }, asked.dataset, known)
  }
  return {
    ...newDraft(),
    dataset: search.get("dataset") ?? "",
    kind: search.get("kind") === "train" ? "train" : "query",
  }
}
