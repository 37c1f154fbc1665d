import { Button, Stack, Text, Textarea, Title } from "@mantine/core"
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query"
import { type FormEvent, useState } from "react"
import { approvalKeys, commentsQuery } from "../../api/approvals"
import { type Approval, comment } from "../../api/decisions"
import { hasRole, type Me } from "../../api/session"
import { LoadingState } from "../../components/LoadingState"
import { ProblemNotice } from "../../components/ProblemNotice"
import { Time } from "../../components/Time"

/** What people say of a change; nothing here decides it. */
export function Comments({ approval, me }: { approval: Approval; me: Me }) {
  const client = useQueryClient()
  const said = useQuery({ ...commentsQuery(approval.id), refetchInterval: 5000 })
  const [text, setText] = useState("")
  const adding = useMutation({
    mutationFn: () => comment(approval.id, text.trim()),
    onSuccess: () => {
      setText("")
      return client.invalidateQueries({ queryKey: approvalKeys.all })
    },
  })
  const submit = (event: FormEvent) => {
    event.preventDefault()
    adding.mutate()
  }
  return (
    <section aria-labelledby="comments">
      <Title order={2} id="comments" mb="xs">
        Comments
      </Title>
      {said.error && <ProblemNotice error={said.error} retry={said.refetch} />}
      {said.isPending && <LoadingState lines={2} />}
      <Stack gap="sm">
        {said.data?.items.length === 0 && (
          <Text size="sm" c="dimmed">
            Nobody has said anything yet.
          </Text>
        )}
        {said.data?.items.map((each) => (
          <div key={each.id}>
            <Text size="sm" c="dimmed" component="div">
              <strong className="name">{each.author_name ?? "Somebody"}</strong>,{" "}
              <Time at={each.written_at} isDistance />
            </Text>
            <Text size="sm" className="name" style={{ whiteSpace: "pre-wrap" }}>
              {each.text}
            </Text>
          </div>
        ))}
        {hasRole(me, "compliance_officer", "ml_engineer") && (
          <form onSubmit={submit}>
            <Stack gap="xs" align="flex-start">
              <Textarea
                label="Comment"
                value={text}
                onChange={(event) => setText(event.currentTarget.value)}
                maxLength={2000}
                autosize
                w="100%"
                required
              />
              {adding.error && <ProblemNotice error={adding.error} />}
              <Button type="submit" size="xs" variant="default" loading={adding.isPending}>
                Add comment
              </Button>
            </Stack>
          </form>
        )}
      </Stack>
    </section>
  )
}
