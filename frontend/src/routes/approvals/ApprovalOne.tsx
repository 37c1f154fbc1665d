import { Anchor, Grid, Stack, Table, Text, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { Link, useParams } from "wouter"
import { approvalQuery } from "../../api/approvals"
import { type Approval, effectQuery } from "../../api/decisions"
import { meQuery } from "../../api/session"
import { Hash } from "../../components/Hash"
import { LoadingState } from "../../components/LoadingState"
import { PageHeader } from "../../components/PageHeader"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"
import { Comments } from "./Comments"
import { Decide } from "./Decide"
import { EffectTable } from "./EffectTable"
import { StateBadge } from "./StateBadge"
import { actionName, changeRows, subjectName } from "./words"

export default function ApprovalOne() {
  const { id = "" } = useParams()
  const me = useQuery(meQuery())
  const read = useQuery({ ...approvalQuery(id), refetchInterval: 5000 })
  const effect = useQuery(effectQuery(id))
  if (read.error && !read.data)
    return (
      <>
        <PageHeader title="Approval" />
        <ProblemNotice error={read.error} retry={read.refetch} />
      </>
    )
  if (!read.data || !me.data) return <LoadingState />
  const approval = read.data
  return (
    <>
      <Anchor component={Link} href="/approvals" size="sm">
        All approvals
      </Anchor>
      <PageHeader
        title={`${actionName(approval.action)}: ${subjectName(approval)}`}
        about={<About approval={approval} />}
      >
        <StateBadge state={approval.state} />
      </PageHeader>
      <Grid gap="xl">
        <Grid.Col span={{ base: 12, lg: 8 }}>
          <Stack gap="xl">
            <section aria-labelledby="change">
              <Title order={2} id="change" mb="xs">
                The change
              </Title>
              <Diff approval={approval} />
            </section>
            <section aria-labelledby="effect">
              <Title order={2} id="effect" mb="xs">
                What it would do
              </Title>
              {effect.error && <ProblemNotice error={effect.error} retry={effect.refetch} />}
              {effect.isPending && <LoadingState />}
              {effect.data && <EffectTable effect={effect.data} state={approval.state} />}
            </section>
          </Stack>
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 4 }}>
          <Stack gap="xl">
            <Decide approval={approval} me={me.data} isStale={effect.data?.is_stale ?? false} />
            <Comments approval={approval} me={me.data} />
          </Stack>
        </Grid.Col>
      </Grid>
    </>
  )
}

function About({ approval }: { approval: Approval }) {
  return (
    <>
      <strong className="name">{approval.requested_by_name ?? "Somebody"}</strong> asked{" "}
      <Time at={approval.requested_at} />
      {approval.state === "pending" && (
        <>
          , to be decided until <Time at={approval.expires_at} />
        </>
      )}
      . Reason: <span className="name">{approval.reason}</span>
    </>
  )
}

function Diff({ approval }: { approval: Approval }) {
  const rows = changeRows(approval.change)
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard */}
      <section className="scrolls" aria-label="Old beside new" tabIndex={0}>
        <Table withTableBorder verticalSpacing={6} tabularNums>
          <caption className="unseen">Every field of the change, old beside new</caption>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Field</Table.Th>
              <Table.Th scope="col">Now</Table.Th>
              <Table.Th scope="col">If approved</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {rows.map((row) => {
              const isSame = row.from === row.to
              return (
                <Table.Tr key={row.field}>
                  <Table.Th scope="row" fw={400} className="name">
                    {row.field}
                  </Table.Th>
                  <Table.Td className="name">
                    {row.from === null ? (
                      <Text span c="dimmed" inherit>
                        none
                      </Text>
                    ) : isSame ? (
                      row.from
                    ) : (
                      <del>{row.from}</del>
                    )}
                  </Table.Td>
                  <Table.Td className="name">
                    {isSame ? (
                      <Text span c="dimmed" inherit>
                        unchanged
                      </Text>
                    ) : (
                      <Text component="ins" fw={600} td="none" inherit>
                        {row.to ?? "none"}
                      </Text>
                    )}
                  </Table.Td>
                </Table.Tr>
              )
            })}
          </Table.Tbody>
        </Table>
      </section>
      <Text component="div" size="sm" c="dimmed" mt={4}>
        A decision is bound to this change by its hash{" "}
        <Hash of={approval.change_sha256} what="hash of the change" />
      </Text>
    </>
  )
}
