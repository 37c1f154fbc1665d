import { SimpleGrid, Text } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { useEffect } from "react"
import { budgetsQuery } from "../../../api/budgets"
import type { Schemas } from "../../../api/client"
import { datasetsQuery } from "../../../api/datasets"
import { projectsQuery } from "../../../api/projects"
import { EmptyState } from "../../../components/EmptyState"
import { Choice, Entry } from "../../../components/fields"
import { LoadingState } from "../../../components/LoadingState"
import { ProblemNotice } from "../../../components/ProblemNotice"
import { shown, shownDelta } from "../../../lib/amounts"
import { factsOf, unitWord } from "./columns"
import type { Change, Draft } from "./draft"

type Budget = Schemas["BudgetRead"]
type Dataset = Schemas["DatasetRead"]

/** The budgets that a job of a project may name: its own, and those that nobody holds. */
export function chargeable(budgets: readonly Budget[], project: string): Budget[] {
  const isOurs = ({ holder }: Budget) => holder === null || holder.project_id === project
  return budgets
    .filter(({ kind, state }) => state === "open" && (kind === "lifetime" || kind === "allocation"))
    .filter(isOurs)
    .sort((one, other) => rank(one) - rank(other))
}

const rank = ({ kind, holder }: Budget) => (holder !== null ? 0 : kind === "allocation" ? 1 : 2)

function leftIn({ plan, remaining, limit }: Budget, unit: string): string {
  if (plan !== null) return "a plan of slots"
  if (remaining === null) return ""
  return `ε ${shown(remaining.epsilon, "left")} left at δ ${shownDelta(limit.delta)} per ${unit}`
}

/** Whom the job is for and what it is charged to. */
export function Charged({ draft, change }: { draft: Draft; change: Change }) {
  const projects = useQuery(projectsQuery())
  const datasets = useQuery(datasetsQuery({ limit: 200 }))
  const budgets = useQuery({
    ...budgetsQuery({ dataset_id: draft.dataset, limit: 200 }),
    enabled: draft.dataset !== "",
  })
  const known = datasets.data?.items.filter(
    ({ access, state }) => access === "private" && state === "active",
  )
  const dataset = known?.find(({ id }) => id === draft.dataset)
  const choose = (found: Dataset | undefined) =>
    change({
      dataset: found?.id ?? "",
      version: found === undefined ? "" : String(found.version),
      budget: "",
      blocks: "",
      slot: "",
    })
  const all = budgets.data?.items
  const first = projects.data?.items[0]?.id
  const newest = dataset?.version
  const only = known?.length === 1 ? known[0] : undefined

  // what leaves no choice, or has a likely answer, is chosen until somebody says otherwise
  useEffect(() => {
    const named = all?.find(({ id }) => id === draft.budget)
    const owner = named?.holder?.project_id
    if (draft.project === "" && first !== undefined && (draft.budget === "" || all))
      change({ project: typeof owner === "string" ? owner : first })
    else if (draft.dataset === "" && only !== undefined)
      change({ dataset: only.id, version: String(only.version) })
    else if (draft.version === "" && newest !== undefined) change({ version: String(newest) })
    else if (draft.project !== "" && all !== undefined) {
      const offered = chargeable(all, draft.project)
      if (!offered.some(({ id }) => id === draft.budget) && draft.budget !== (offered[0]?.id ?? ""))
        change({ budget: offered[0]?.id ?? "", slot: "" })
    }
  }, [draft.project, draft.dataset, draft.version, draft.budget, first, only, newest, all, change])

  const error = projects.error ?? datasets.error
  if (error) return <ProblemNotice error={error} retry={datasets.refetch} />
  if (projects.data === undefined || known === undefined) return <LoadingState />
  if (projects.data.items.length === 0)
    return (
      <EmptyState title="You are in no project yet.">
        Jobs are sent for a project. An administrator puts you into one.
      </EmptyState>
    )
  if (known.length === 0)
    return (
      <EmptyState title="No private dataset is granted to your projects.">
        An officer grants a dataset to a project; then its members may ask.
      </EmptyState>
    )
  const offered = chargeable(all ?? [], draft.project)
  const budget = offered.find(({ id }) => id === draft.budget)
  const slots = budget?.plan?.slots ?? []
  const hasBlocks = (dataset?.blocks?.kind ?? "none") !== "none"
  const unit = dataset === undefined ? "record" : unitWord(factsOf(dataset))
  return (
    <>
      <SimpleGrid cols={{ base: 1, sm: 3 }} mb="xs">
        <Choice
          at="/project"
          label="Project"
          value={draft.project}
          set={(project) => change({ project })}
          options={projects.data.items.map(({ id, name }) => ({ value: id, label: name }))}
        />
        <Choice
          at="/inputs/0/dataset_id"
          label="Dataset"
          isRequired
          none="Choose a dataset"
          value={draft.dataset}
          set={(id) => choose(known.find((each) => each.id === id))}
          options={known.map(({ id, name }) => ({ value: id, label: name }))}
        />
        <Choice
          at="/inputs/0/budget_id"
          label="Charged to"
          isRequired
          none={draft.dataset === "" ? "Choose a dataset first" : "Choose a budget"}
          value={draft.budget}
          set={(id) => change({ budget: id, slot: "" })}
          options={offered.map((each) => ({
            value: each.id,
            label: `${each.name}: ${leftIn(each, unit)}`,
          }))}
        />
        {dataset !== undefined && dataset.version > 1 && (
          <Choice
            at="/inputs/0/version"
            label="Version of the rows"
            value={draft.version}
            set={(version) => change({ version })}
            options={Array.from({ length: dataset.version }, (_, index) => {
              const version = String(dataset.version - index)
              return { value: version, label: index === 0 ? `${version}, the newest` : version }
            })}
          />
        )}
        {hasBlocks && (
          <Entry
            at="/inputs/0/blocks"
            label="Blocks"
            about={`Such as 0-11, 13; empty for all that are closed, ${dataset?.closed_blocks ?? 0} by now`}
            value={draft.blocks}
            set={(blocks) => change({ blocks })}
            isNumber={false}
          />
        )}
        {slots.length > 0 && (
          <Choice
            at="/inputs/0/slots"
            label="Slot of the plan"
            none="Choose a slot"
            value={draft.slot}
            set={(slot) => change({ slot })}
            options={slots.map(({ name, left }) => ({
              value: name,
              label: `${name}: ${left} left`,
            }))}
          />
        )}
      </SimpleGrid>
      {budgets.error && <ProblemNotice error={budgets.error} retry={budgets.refetch} />}
      {all !== undefined && draft.dataset !== "" && offered.length === 0 && (
        <Text size="sm" role="status">
          No budget of this dataset is open to this project. An officer opens one.
        </Text>
      )}
    </>
  )
}
