import {
  Badge,
  Button,
  Group,
  NativeSelect,
  Paper,
  Stack,
  Text,
  TextInput,
  Title,
} from "@mantine/core"
import { useInfiniteQuery, useQuery } from "@tanstack/react-query"
import { type FormEvent, useState } from "react"
import type { Schemas } from "../../api/client"
import { useChange } from "../../api/pages"
import { namesQuery } from "../../api/people"
import {
  addMember,
  createProject,
  projectKeys,
  projectPages,
  removeMember,
} from "../../api/projects"
import { hasRole } from "../../api/session"
import { EmptyState } from "../../components/EmptyState"
import { LoadingState } from "../../components/LoadingState"
import { MoreButton } from "../../components/MoreButton"
import { ProblemNotice } from "../../components/ProblemNotice"
import { AdminPage } from "./AdminPage"
import { ProjectHoldings } from "./ProjectHoldings"

type Project = Schemas["ProjectRead"]
type Person = Schemas["PersonRead"]

export default function Projects() {
  return (
    <AdminPage
      path="/admin/projects"
      title="Projects"
      about="Who works together, and on which datasets."
    >
      {(me) => <ProjectList isAdmin={hasRole(me, "admin")} />}
    </AdminPage>
  )
}

function ProjectList({ isAdmin }: { isAdmin: boolean }) {
  const projects = useInfiniteQuery(projectPages())
  const people = useQuery({ ...namesQuery(), enabled: isAdmin })
  return (
    <>
      {isAdmin && <ProjectAdd />}
      {projects.error && <ProblemNotice error={projects.error} retry={projects.refetch} />}
      {projects.isPending && <LoadingState />}
      {projects.data?.length === 0 && (
        <EmptyState title="No project yet.">
          A project is a team: datasets are granted to it, and its members may ask about them.
        </EmptyState>
      )}
      <Stack gap="sm">
        {projects.data?.map((project) => (
          <Paper key={project.id} withBorder p="md" component="section" aria-label={project.name}>
            <Title order={2} className="name" mb="xs">
              {project.name}
            </Title>
            {isAdmin ? (
              <Members project={project} people={people.data ?? []} />
            ) : (
              <ProjectHoldings project={project} />
            )}
          </Paper>
        ))}
      </Stack>
      <MoreButton pages={projects} />
    </>
  )
}

function ProjectAdd() {
  const [name, setName] = useState("")
  const making = useChange(createProject, projectKeys.all)
  const submit = (event: FormEvent) => {
    event.preventDefault()
    making.mutate({ name: name.trim() }, { onSuccess: () => setName("") })
  }
  return (
    <form onSubmit={submit}>
      {making.error && <ProblemNotice error={making.error} />}
      <Group align="flex-end" gap="xs" mb="md">
        <TextInput
          label="New project"
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          required
          style={{ flex: "0 1 20rem" }}
        />
        <Button type="submit" loading={making.isPending}>
          Make
        </Button>
      </Group>
    </form>
  )
}

function Members({ project, people }: { project: Project; people: Person[] }) {
  const [chosen, setChosen] = useState("")
  const adding = useChange(addMember, projectKeys.all)
  const removing = useChange(removeMember, projectKeys.all)
  const nameOf = (id: string) => people.find((each) => each.id === id)?.name ?? id
  const others = people.filter((each) => each.active && !project.member_ids.includes(each.id))
  const error = adding.error ?? removing.error
  const submit = (event: FormEvent) => {
    event.preventDefault()
    const change = { project_id: project.id, principal_id: chosen }
    adding.mutate(change, { onSuccess: () => setChosen("") })
  }
  return (
    <Stack gap="sm">
      {error && <ProblemNotice error={error} />}
      {project.member_ids.length === 0 && (
        <Text size="sm" c="dimmed">
          Nobody is in it yet.
        </Text>
      )}
      <Group gap="xs">
        {project.member_ids.map((id) => (
          <Group key={id} gap={4} wrap="nowrap">
            <Badge color="gray" size="lg">
              {nameOf(id)}
            </Badge>
            <Button
              size="compact-xs"
              variant="subtle"
              aria-label={`Take ${nameOf(id)} out of ${project.name}`}
              onClick={() => removing.mutate({ project_id: project.id, principal_id: id })}
            >
              take out
            </Button>
          </Group>
        ))}
      </Group>
      <form onSubmit={submit}>
        <Group align="flex-end" gap="xs">
          <NativeSelect
            size="xs"
            label={`Add to ${project.name}`}
            value={chosen}
            onChange={(event) => setChosen(event.currentTarget.value)}
            data={[
              { value: "", label: "Choose a person", disabled: true },
              ...others.map((each) => ({ value: each.id, label: each.name })),
            ]}
          />
          <Button
            type="submit"
            size="xs"
            variant="default"
            disabled={chosen === ""}
            loading={adding.isPending}
          >
            Add
          </Button>
        </Group>
      </form>
    </Stack>
  )
}
