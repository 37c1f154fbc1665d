"""HTTP at the edge: routes translate, services decide."""
