export const reportPlaces = [
  { path: "/reports", name: "Reports" },
  { path: "/reports/attestations", name: "Attestations" },
]
