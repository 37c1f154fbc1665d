import { Skeleton, Stack } from "@mantine/core"

export function LoadingState({ lines = 4 }: { lines?: number }) {
  return (
    <Stack p="md" role="status" aria-live="polite">
      <span className="unseen">Loading</span>
      {Array.from({ length: lines }, (_, index) => (
        <Skeleton key={index} height={20} width={`${90 - index * 12}%`} />
      ))}
    </Stack>
  )
}
