import { List, Text } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { Link } from "wouter"
import { budgetsQuery } from "../../api/budgets"
import type { Schemas } from "../../api/client"
import { datasetsQuery } from "../../api/datasets"
import { Amount } from "../../components/Amount"
import { LoadingState } from "../../components/LoadingState"
import { ProblemNotice } from "../../components/ProblemNotice"

/** What a project may ask about and what it holds, for those who oversee budgets. */
export function ProjectHoldings({ project }: { project: Schemas["ProjectRead"] }) {
  const datasets = useQuery(datasetsQuery({ limit: 200 }))
  const budgets = useQuery(budgetsQuery({ limit: 200 }))
  const error = datasets.error ?? budgets.error
  if (error) return <ProblemNotice error={error} />
  if (!datasets.data || !budgets.data) return <LoadingState lines={2} />
  const granted = datasets.data.items.filter((each) =>
    each.granted_project_ids?.includes(project.id),
  )
  const held = budgets.data.items.filter((each) => holderOf(each) === project.id)
  const members = project.member_ids.length
  return (
    <>
      <Text size="sm" c="dimmed" mb="xs">
        {members === 0 ? "Nobody is in it yet." : `${members} in it.`}
      </Text>
      {granted.length === 0 && <Text size="sm">No dataset is granted to it.</Text>}
      {granted.length > 0 && (
        <List size="sm">
          {granted.map((dataset) => (
            <List.Item key={dataset.id} className="name">
              <Link href={`/datasets/${dataset.id}`}>{dataset.name}</Link>
              {held
                .filter((each) => each.dataset_id === dataset.id)
                .map((each) => (
                  <Text key={each.id} size="sm">
                    {each.name}: allocated <Amount amount={each.limit} sense="spent" />
                  </Text>
                ))}
            </List.Item>
          ))}
        </List>
      )}
    </>
  )
}

const holderOf = (budget: Schemas["BudgetRead"]): unknown => budget.holder?.project_id
