/** What the service tells of by itself, in the words of a form. */
export const noticeNames: Record<string, string> = {
  threshold: "A budget has passed a share of its limit",
  refusals: "One person is refused again and again",
  frozen: "A budget was frozen",
  audit: "The canaries of a run do not look like its claim",
  approval: "A change waits for a second person",
  "broken-chain": "A ledger does not agree with its replay",
  "behind-witness": "The database is behind its witness",
  "break-glass": "An officer has frozen everything",
  delegation: "A delegation of decisions was made or ended",
}
