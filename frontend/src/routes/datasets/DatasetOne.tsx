import { Badge, Stack } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { useState } from "react"
import { useParams } from "wouter"
import { budgetsQuery } from "../../api/budgets"
import type { Schemas } from "../../api/client"
import { datasetQuery } from "../../api/datasets"
import { hasRole, meQuery } from "../../api/session"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { PageHeader } from "../../components/PageHeader"
import { ProblemNotice } from "../../components/ProblemNotice"
import { BlockStrip } from "./BlockStrip"
import { BudgetOpen } from "./BudgetOpen"
import { BudgetTree } from "./BudgetTree"
import { BurnDown } from "./BurnDown"
import { Facts, Population, Schema, Section, Versions } from "./Facts"
import { unitName } from "./words"

export default function DatasetOne() {
  const { id = "" } = useParams<{ id: string }>()
  const dataset = useQuery(datasetQuery(id))
  if (dataset.error)
    return (
      <>
        <PageHeader title="Dataset" />
        <ProblemNotice error={dataset.error} retry={dataset.refetch} />
      </>
    )
  if (dataset.data === undefined)
    return (
      <>
        <PageHeader title="Dataset" />
        <LoadingState />
      </>
    )
  return <Known key={id} dataset={dataset.data} />
}

function Known({ dataset }: { dataset: Schemas["DatasetRead"] }) {
  const me = useQuery(meQuery())
  const oversees = me.data !== undefined && hasRole(me.data, "compliance_officer", "auditor")
  return (
    <>
      <PageHeader title={dataset.name} about={dataset.purpose}>
        <Badge color="gray">{dataset.state}</Badge>
        <Badge color="gray">
          {dataset.access === "public" ? "public rows" : `version ${dataset.version}`}
        </Badge>
      </PageHeader>
      <Stack gap="xl">
        {dataset.access === "private" && <Budgets dataset={dataset} />}
        <Section id="facts" title="What it is">
          <Facts dataset={dataset} />
        </Section>
        <Section id="columns" title="Columns">
          <Schema dataset={dataset} />
        </Section>
        <Section id="versions" title="Versions">
          <Versions dataset={dataset} />
        </Section>
        {oversees && dataset.population && (
          <Section id="population" title={`The same people: ${dataset.population}`}>
            <Population name={dataset.population} />
          </Section>
        )}
      </Stack>
    </>
  )
}

function Budgets({ dataset }: { dataset: Schemas["DatasetRead"] }) {
  const me = useQuery(meQuery())
  const found = useQuery({
    ...budgetsQuery({ dataset_id: dataset.id, limit: 200 }),
    refetchInterval: 15_000,
  })
  const [picked, setPicked] = useState<string>()
  if (found.error) return <ProblemNotice error={found.error} retry={found.refetch} />
  if (found.data === undefined) return <LoadingState />
  const isOfficer = me.data !== undefined && hasRole(me.data, "compliance_officer")
  const budgets = found.data.items
  const living = budgets.filter((each) => each.kind !== "period" && each.state !== "proposed")
  const root = budgets.find(({ kind }) => kind === "lifetime")
  const chosen = living.find(({ id }) => id === (picked ?? root?.id)) ?? living[0]
  const unit = unitName(dataset)
  return (
    <>
      <Section id="budgets" title="Budgets">
        {budgets.length > 0 ? (
          <BudgetTree
            budgets={budgets}
            unit={unit}
            isOfficer={isOfficer}
            chosen={chosen?.id}
            onChoose={setPicked}
          />
        ) : (
          !isOfficer && (
            <EmptyState title="There is no budget here that you may know of.">
              An officer proposes a lifetime budget and a second one agrees; projects get their
              share of it.
            </EmptyState>
          )
        )}
        {isOfficer && root === undefined && dataset.state === "active" && (
          <BudgetOpen dataset={dataset} />
        )}
      </Section>
      {chosen && chosen.plan === null && (
        <Section id="burn-down" title="How it came down">
          <BurnDown key={chosen.id} budget={chosen} unit={unit} />
        </Section>
      )}
      {chosen && dataset.blocks && dataset.blocks.kind !== "none" && (
        <Section id="blocks" title="Blocks">
          <BlockStrip key={chosen.id} budget={chosen} dataset={dataset} />
        </Section>
      )}
    </>
  )
}
