import { Button, Group, Modal, Stack, Text } from "@mantine/core"
import { useDisclosure } from "@mantine/hooks"
import { cancelJob, jobKeys } from "../../api/jobs"
import { useChange } from "../../api/pages"
import { ProblemNotice } from "../../components/ProblemNotice"
import type { Job } from "./words"

/** Ask for a stop, once one has said what that does and does not undo. */
export function Cancel({ job }: { job: Job }) {
  const [isAsking, { open, close }] = useDisclosure()
  const stopping = useChange(cancelJob, jobKeys.all)
  if (job.cancel_requested) return null
  return (
    <>
      <Button size="xs" variant="default" onClick={open}>
        Cancel the job
      </Button>
      <Modal
        opened={isAsking}
        onClose={close}
        title="Cancel this job?"
        closeButtonProps={{ "aria-label": "Close" }}
      >
        <Stack>
          <Text size="sm">
            {job.state === "queued"
              ? "It waits still: nothing is charged, and all that it holds is given back."
              : "It stops where its present chunk ends. What has started stays charged, whatever comes of it; a training releases the model that it has by then."}
          </Text>
          {stopping.error && <ProblemNotice error={stopping.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={close} data-autofocus>
              Let it go on
            </Button>
            <Button
              color="red.9"
              loading={stopping.isPending}
              onClick={() => stopping.mutate(job.id, { onSuccess: close })}
            >
              Cancel it
            </Button>
          </Group>
        </Stack>
      </Modal>
    </>
  )
}
