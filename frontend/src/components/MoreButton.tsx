import { Button } from "@mantine/core"

type Props = {
  pages: { hasNextPage: boolean; isFetchingNextPage: boolean; fetchNextPage: () => unknown }
}

/** Reads the next page of a list, where there is one. */
export function MoreButton({ pages }: Props) {
  if (!pages.hasNextPage) return null
  return (
    <Button
      mt="sm"
      size="xs"
      variant="default"
      loading={pages.isFetchingNextPage}
      onClick={() => pages.fetchNextPage()}
    >
      Show more
    </Button>
  )
}
