import { infiniteQueryOptions, useMutation, useQueryClient } from "@tanstack/react-query"

type Page<Item> = { items: Item[]; next: string | null }
type Fetch<Item> = (cursor: string | undefined, signal: AbortSignal) => Promise<Page<Item>>

/** A list that comes in pages: what was read so far, as one list of items. */
export const pagesOptions = <Item>(queryKey: readonly unknown[], fetch: Fetch<Item>) =>
  infiniteQueryOptions({
    queryKey,
    queryFn: ({ pageParam, signal }: { pageParam: string | undefined; signal: AbortSignal }) =>
      fetch(pageParam, signal),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (last: Page<Item>) => last.next ?? undefined,
    select: (read) => read.pages.flatMap((page) => page.items),
  })

/** A change, after which everything that was read under a key is read again. */
export function useChange<Input, Output>(
  change: (input: Input) => Promise<Output>,
  ...keys: (readonly unknown[])[]
) {
  const client = useQueryClient()
  return useMutation({
    mutationFn: change,
    onSuccess: () => Promise.all(keys.map((queryKey) => client.invalidateQueries({ queryKey }))),
  })
}
